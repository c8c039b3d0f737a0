"""Strict configuration: frozen pydantic models, TOML files, every error on its own line with a did-you-mean."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, time
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dbtssl.errors import ConfigError


class Config(BaseModel):
    """Base of every configuration: frozen, unknown keys refused, defaults validated, every number finite."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )


M = TypeVar("M", bound=Config)

LARGEST = 2**53  # of whole numbers: beyond it JSON and floating point lose digits


def infra(default: Any, **kwargs: Any) -> Any:
    """A field that does not decide the result (workers, devices, log folders) and so stays out of cache keys."""
    return Field(default, json_schema_extra={"result": False}, **kwargs)


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; refuse a missing or broken one with its line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"no such file: {path}", hint="check the path") from None
    except OSError as exc:
        raise ConfigError(
            f"cannot read {path}: {exc.strerror}", hint="give a TOML file that you may read"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(
            f"{path} is not valid TOML: {exc}", hint="fix the line that the message names"
        ) from None


def validate(model: type[M], data: Mapping[str, Any], where: str = "", *, file: str = "") -> M:
    """Build ``model`` from plain data; all errors at once, one a line, each as ``key: got X, expected Y``.

    Types are taken as written, as TOML and JSON have them: ``"5"``, ``5.0`` and ``true`` are no integers; a list
    may become a tuple, a text a path, an integer a float. ``where`` begins every key; ``file`` is named once. Whole
    numbers beyond `LARGEST` and texts that no file or table can hold are refused like what a field itself refuses.
    """
    unfit = [f"{key}: {why}" for key, why in _unfit(data, where)]
    if unfit:
        raise _refusal(unfit, file or where)
    try:
        return model.model_validate_json(json.dumps(data, default=_plain), strict=True)
    except ValidationError as exc:
        lines = [_line(model, error, where) for error in exc.errors(include_url=False)]
        raise _refusal(lines, file or where) from None


def _refusal(lines: Sequence[str], where: str) -> ConfigError:
    count = f"{len(lines)} errors" if len(lines) > 1 else "error"
    return ConfigError(
        f"{count} in {where or 'the configuration'}:\n" + "\n".join(f"  {x}" for x in lines),
        hint="fix the keys above" if len(lines) > 1 else "fix the key above",
    )


def _unfit(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """The keys below ``key`` whose values no field can take, and why: they would fail deep in some library."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _unfit(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _unfit(item, f"{key}.{i}" if key else str(i))
    elif isinstance(value, int) and abs(value) > LARGEST:
        yield key, f"got {_show(value)}, expected a whole number of at most {LARGEST:,}"
    elif isinstance(value, str | Path):
        if "\0" in str(value):
            yield key, f"got {_show(str(value))}, expected a text without the character 0"
        elif any("\ud800" <= c <= "\udfff" for c in str(value)):
            yield (
                key,
                f"got {_show(str(value))}, expected Unicode; rename what is not named in UTF-8",
            )


def config_of(model: type[M], fields: Mapping[str, Any]) -> M:
    """The ``Config`` behind the keywords of a component's constructor.

    The registry hands over every field of a Config that is valid already; these are taken as they are, since a
    validator that converts (percent to a share) would convert twice. Fewer are validated, and the defaults added.
    """
    whole = fields.keys() == model.model_fields.keys()
    return cast("M", model.model_construct(**fields)) if whole else model(**fields)


def config_class(component: type) -> type[Config]:
    """The ``Config`` of a component's class; of one that has no settings, and so no ``Config``, the empty one."""
    return cast("type[Config]", getattr(component, "Config", Config))


def set_key(data: dict[str, Any], assignment: str) -> None:
    """Apply ``a.b=VALUE`` in place; VALUE is a TOML value, or a bare word taken as text."""
    key, equals, text = assignment.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError(
            f"--set {assignment}: expected KEY=VALUE", hint="for example --set predict.patches=5"
        )
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = parts
    node = data
    for name in parents:
        node = node.setdefault(name, {})
        if not isinstance(node, dict):
            raise ConfigError(
                f"--set {assignment}: {name} is a value, not a table",
                hint=f"set it whole: --set {name}=VALUE",
            )
    node[last] = value


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` or nothing."""
    folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), folded, n=1)
    return f" Did you mean {folded[near[0]]!r}?" if near else ""


def result_fields(config: BaseModel) -> dict[str, Any]:
    """The resolved values that decide a result, defaults included, as plain JSON data."""
    return json.loads(canonical_json(_deciding(config)))  # type: ignore[no-any-return]


def canonical_json(data: Any) -> str:
    """One text for equal data: sorted keys, no spaces; pydantic models, tuples, enums and paths allowed."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), default=_plain, allow_nan=False)


def digest(data: Any) -> str:
    """SHA-256 of the canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(data).encode()).hexdigest()


def _deciding(value: Any) -> Any:
    """``value`` without the fields of `infra`, at any depth."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        decide = [name for name in fields if not _is_infra(fields[name].json_schema_extra)]
        return {name: _deciding(getattr(value, name)) for name in decide}
    if isinstance(value, Mapping):
        return {key: _deciding(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_deciding(item) for item in value]
    return value


def _is_infra(extra: Any) -> bool:
    return isinstance(extra, dict) and extra.get("result") is False


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date | time):  # TOML has them
        return value.isoformat()
    raise TypeError(f"cannot turn {type(value).__name__} into JSON")


_EXPECTED = {  # pydantic's name for the error, or its beginning -> what was expected
    "greater_than_equal": "a number >= {ge}",
    "greater_than": "a number > {gt}",
    "less_than_equal": "a number <= {le}",
    "less_than": "a number < {lt}",
    "finite_number": "a finite number",
    "int_": "an integer",
    "float_": "a number",
    "bool_": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "too_short": "at least {min_length} items",
    "too_long": "at most {max_length} items",
    "string_too_short": "a text of at least {min_length} characters",
    "string_too_long": "a text of at most {max_length} characters",
    "string_pattern_mismatch": "a text that matches {pattern}",
    "dict_type": "a table",
    "model_type": "a table",
}


def _line(model: type[BaseModel], error: Any, where: str) -> str:
    loc, kind, value = error["loc"], error["type"], error["input"]
    key = ".".join(str(part) for part in ((where, *loc) if where else loc)) or "all of it"
    if kind == "extra_forbidden":
        names = sorted({name for owner in _owners(model, loc[:-1]) for name in owner.model_fields})
        known = f" Known keys: {', '.join(names)}." if names else ""
        return f"{key}: unknown key.{did_you_mean(str(loc[-1]), names)}{known}"
    if kind == "missing":
        return f"{key}: missing"
    if kind in ("value_error", "assertion_error"):  # a validator's own words
        got = "" if isinstance(value, dict) else f"got {_show(value)}, "
        return f"{key}: {got}{error['ctx']['error']}"
    near = ""
    if kind == "literal_error" and isinstance(value, str):
        near = did_you_mean(value, re.findall("'([^']*)'", error["ctx"]["expected"]))
    return f"{key}: got {_show(value)}, expected {_expectation(error)}{near and '.' + near}"


def _expectation(error: Any) -> str:
    for beginning, words in _EXPECTED.items():
        if error["type"].startswith(beginning):
            return words.format(**error.get("ctx", {}))
    return str(error["msg"].removeprefix("Input should be "))


def _show(value: Any) -> str:
    """The value as TOML writes it, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _owners(model: type[BaseModel], loc: tuple[Any, ...]) -> list[type[BaseModel]]:
    """The models that may hold the key at ``loc``; positions in lists and keys of tables are stepped over."""
    owners = [model]
    for part in loc:
        fields = [o.model_fields[part] for o in owners if part in o.model_fields]
        if fields:
            owners = [found for field in fields for found in _models(field.annotation)]
    return owners


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models(argument)]
