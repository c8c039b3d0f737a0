"""What made a row: the plugin, version and code of each component, and the conditions that its stages were made under.

A stage is found in the store whatever library or processor made it, so that an upgrade does not cost all trainings.
That rows of one table were not made alike is said below it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import Field

from dbtssl.benchmark.resolve import AGGREGATORS
from dbtssl.config import Config
from dbtssl.engine.store import MANIFEST
from dbtssl.plugins.registry import registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dbtssl.benchmark.resolve import Row
    from dbtssl.benchmark.results.run_record import Record
    from dbtssl.benchmark.spec.specification import Spec
    from dbtssl.engine.store import Store

# what of an environment may change a number of one code and configuration
NUMBERS = (
    *("torch", "torchvision", "lightly", "timm", "numpy", "scipy", "scikit-learn"),
    *("system", "machine", "device", "cuda", "cpu capability", "threads", "oneDNN limit"),
)
SHOWN = 12  # digits of a hash


class ComponentRecord(Config):
    """A component of a row, and who brought it."""

    kind: str = Field(description="sampler, objective, ...")
    name: str = Field(description="its registered name")
    plugin: str = Field(description="the plugin that registered it; core: dbtssl itself")
    distribution: str = Field(description="the plugin's distribution, or the name of its file")
    version: str = Field(description="version of the distribution; empty for a file")
    code: str = Field(description="SHA-256 of the code and the data files that it reads")

    def words(self) -> str:
        """Distribution, version and the beginning of the hash."""
        return f"{self.distribution} {self.version}".strip() + f", code {self.code[:SHOWN]}"


def components(spec: Spec, row: Row) -> tuple[ComponentRecord, ...]:
    """Every component that the numbers of ``row`` depend on."""
    known = registry()
    own = spec.method.get(row.name)
    named = [("source", spec.data.source), ("method", (own.method if own else "") or row.name)]
    if row.backbone.name in known.names("backbone"):
        named.append(("backbone", row.backbone.name))
    parts = (row.sampler, row.objective, row.finetuner)
    named += [(part.kind, part.name) for part in parts if part is not None]
    named += [("aggregator", getattr(spec.aggregate, place)) for place in AGGREGATORS]
    return tuple(_record(kind, name) for kind, name in dict.fromkeys(named))


def _record(kind: str, name: str) -> ComponentRecord:
    found = registry().component(kind, name)
    return ComponentRecord(
        kind=kind,
        name=name,
        plugin=found.plugin,
        distribution=found.distribution_name,
        version=found.version,
        code=found.code,
    )


def made_with(store: Store, stages: Mapping[str, str]) -> dict[str, str]:
    """The environments that ``stages`` (names to keys) were made in; several values of one key stand side by side."""
    found: dict[str, list[str]] = {}
    for name, key in stages.items():
        path = store.path(name, key) / MANIFEST
        if path.is_file():
            environment = json.loads(path.read_text(encoding="utf-8"))["environment"]
            for what, value in environment.items():
                found.setdefault(what, []).append(str(value))
    return joined(found)


def environment_of(record: Record) -> dict[str, str]:
    """What the stages of a run's rows were made with, where that is recorded; else what the run itself was."""
    found: dict[str, list[str]] = {}
    for row in record.rows:
        for key, value in row.made_with.items():
            found.setdefault(key, []).append(value)
    return record.environment | joined(found)


def joined(found: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """The values of each key, each once."""
    parts = {key: [v for text in values for v in text.split("; ")] for key, values in found.items()}
    return {key: "; ".join(sorted(set(values))) for key, values in sorted(parts.items())}


def conditions_note(rows: Mapping[str, Mapping[str, str]]) -> str:
    """What of ``rows`` (names to environments) was not made alike, in words; empty where nothing is known to differ."""
    parts = []
    for key in NUMBERS:
        values: dict[str, list[str]] = {}
        for name, environment in rows.items():
            if key in environment:
                values.setdefault(environment[key], []).append(name)
        if len(values) > 1 or any("; " in value for value in values):
            said = (
                f"{value.replace('; ', ' and ')} ({', '.join(of)})" for value, of in values.items()
            )
            parts.append(f"{key} {', '.join(said)}")
    if not parts:
        return ""
    return (
        "Stages found in the store were made under other conditions, so differences between these rows are not of the "
        f"methods alone: {'; '.join(parts)}."
    )
