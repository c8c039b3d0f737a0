"""The outer place that knows whose component it was: errors of a row with kind, name, plugin and configuration."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from dbtssl.benchmark.resolve import AGGREGATORS, Part, aggregator
from dbtssl.config import result_fields
from dbtssl.errors import DbtsslError, PluginError, TrainingError
from dbtssl.evaluation.aggregation.checked_aggregator import COMPONENT
from dbtssl.interfaces.boundary import TRACE
from dbtssl.plugins.registry import registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtssl.benchmark.resolve import Row
    from dbtssl.benchmark.spec.specification import Spec
    from dbtssl.evaluation.values import Missing
    from dbtssl.interfaces import Level

NETWORKS = ("objective", "finetuner")  # are built on the row's backbone
LONGEST = 160  # characters of a configuration in a message; the record has all of it


def failure(spec: Spec, row: Row, exc: BaseException) -> PluginError | TrainingError:
    """``exc`` with the whole context, where it is the row's own; bad data, a full disk and an interrupt are raised.

    The message begins with the component, as `blamed` names it.
    """
    if isinstance(exc, PluginError | TrainingError):
        part = _part(spec, row, exc.component)
        error = type(exc)(f"{blamed(part, row)}{exc.message}", hint=exc.hint)
    elif isinstance(exc, DbtsslError | OSError | KeyboardInterrupt):
        raise exc
    else:
        what = f"{type(exc).__name__}: {exc}".removesuffix(": ")
        error = PluginError(what, hint=TRACE)
    error.__cause__ = exc
    return error


def blamed(part: Part | None, row: Row) -> str:
    """``sampler 'near' of near.py (reach = 4): ``; empty where it is nobody's."""
    if part is None:
        return ""
    with_backbone = f", backbone {row.backbone.name}" if part.kind in NETWORKS else ""
    return f"{named(part.kind, part.name)} ({settings(part)}{with_backbone}): "


def levels(spec: Spec, row: Row, missing: Mapping[Level, Missing]) -> dict[Level, Missing]:
    """Why levels have no score, with the aggregator that is to blame."""
    out = {}
    for level, why in missing.items():
        reason = f"{blamed(_part(spec, row, why.component), row)}{why.reason}"
        out[level] = why.model_copy(update={"reason": reason})
    return out


def named(kind: str, name: str) -> str:
    """``sampler 'near' of near.py``: kind, name, and distribution with version; of a plugin of one file its name."""
    component = registry().component(kind, name)
    origin = f"{PurePath(component.distribution).name} {component.version}".strip()
    return f"{kind} {name!r} of {origin}"


def settings(part: Part) -> str:
    """The configuration in a line, cut where it is long; what is not at its default comes first."""
    fields = result_fields(part.config)
    changed = part.config.model_fields_set
    order = sorted(fields, key=lambda name: name not in changed)
    text = ", ".join(f"{name} = {fields[name]}" for name in order)
    if len(text) > LONGEST:
        text = f"{text[: LONGEST - 4].rpartition(', ')[0]}, ..."
    return text or "no settings"


def _part(spec: Spec, row: Row, component: str) -> Part | None:
    """The row's component of that kind; of aggregators the one that gives the level, as `of_level` says it."""
    kind, _, level = component.partition(" ")
    if kind == COMPONENT:
        place = next((p for p, gives in AGGREGATORS.items() if gives == level), None)
        return aggregator(spec, place) if place else None
    found = {"objective": row.objective, "sampler": row.sampler, "finetuner": row.finetuner}
    return found.get(kind)
