"""Specifications from files: the project's own, the user's with what the command line changes, and those of records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dbtssl.benchmark.spec.specification import Spec
from dbtssl.config import canonical_json, did_you_mean, load_toml, set_key, validate
from dbtssl.errors import ConfigError


def builtin_spec(name: str) -> Path:
    """The path of a specification that the project carries, in a checkout and in an installed wheel."""
    package = Path(__file__).parents[1]
    for folder in (package / "specs", package.parents[1] / "benchmarks"):
        if (path := folder / f"{name}.toml").is_file():
            return path
    raise ConfigError(f"the specification {name}.toml is missing from this installation")


def load_spec(path: Path, data: str | None = None, assignments: tuple[str, ...] = ()) -> Spec:
    """Read a specification and apply ``--data SOURCE:ROOT`` and ``--set KEY=VALUE``, then check it."""
    tables = load_toml(path)
    if data is not None:
        source, colon, root = data.partition(":")
        if not source or (colon and not root):
            raise ConfigError(
                f"--data {data}: expected SOURCE:ROOT",
                hint="for example --data bcs-dbt:/data/BCS-DBT",
            )
        tables["data"] = {"source": source, "root": root}
    spec = validate(Spec, tables, file=str(path))
    if stray := sorted(set(spec.method) - set(spec.methods)):
        raise ConfigError(
            f"{path}: [method.{stray[0]}] belongs to no row; methods = {', '.join(spec.methods)}",
            hint="add it to methods, or remove the table",
        )
    if not assignments:
        return spec
    for assignment in assignments:
        set_key(tables, assignment)
    changed = validate(Spec, tables, file=f"{path} with --set")
    # the tables of rows that --set methods=... leaves out may stay
    if stray := sorted(set(changed.method) - set(changed.methods) - set(spec.method)):
        raise ConfigError(
            f"--set method.{stray[0]}: no such row.{did_you_mean(stray[0], list(changed.methods))}",
            hint=f"the rows are {', '.join(changed.methods)}",
        )
    return changed


def recorded_spec(fields: dict[str, Any], file: str) -> Spec:
    """The specification of a record, which states every default: only what differs from them was set."""
    return validate(Spec, _without_defaults(Spec, fields), file=file)


def _without_defaults(model: type[BaseModel], fields: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in fields.items():
        field = model.model_fields.get(key)
        if field is None or field.is_required():
            out[key] = value
            continue
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel) and isinstance(value, dict):
            value = _without_defaults(type(default), value)
            if value:
                out[key] = value
        elif canonical_json(value) != canonical_json(default):
            out[key] = value
    return out
