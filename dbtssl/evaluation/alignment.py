"""Sets of scores put into one order of units, or refused in words: what may be compared at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbtssl.config import did_you_mean
from dbtssl.errors import ConfigError
from dbtssl.evaluation.intervals import refuse_not_finite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dbtssl.evaluation.units import ScoreSet


def same_units(sets: Mapping[str, Sequence[ScoreSet]], baseline: str) -> dict[str, list[ScoreSet]]:
    """All sets in the baseline's order of units."""
    if baseline not in sets:
        known = ", ".join(sets)
        raise ConfigError(
            f"the baseline {baseline!r} is not among the methods.{did_you_mean(baseline, sets)}",
            hint=f"choose one of: {known}",
        )
    for name, seeds in sets.items():
        if not seeds:
            raise ConfigError(f"method {name!r} has no scores", hint="leave it out")
    first = sets[baseline][0]
    return {
        name: [_aligned(s, name, first, baseline) for s in seeds] for name, seeds in sets.items()
    }


def _aligned(units: ScoreSet, name: str, first: ScoreSet, baseline: str) -> ScoreSet:
    refuse_not_finite(units, name)
    if units.ids != first.ids or (units.abnormal != first.abnormal).any():
        if units.level != first.level or units.evaluation_set != first.evaluation_set:
            raise ConfigError(
                f"{name} and {baseline} were not scored on the same {first.level}s: "
                f"{len(units.ids)} {units.level}s of set {units.evaluation_set[:8]}, "
                f"{len(first.ids)} {first.level}s of set {first.evaluation_set[:8]}",
                hint="compare rows of one evaluation set",
            )
        place = {unit: i for i, unit in enumerate(units.ids)}
        units = units.taken(np.array([place[unit] for unit in first.ids]))
    mine, theirs = (np.unique(s.patients, return_inverse=True)[1] for s in (units, first))
    if (mine != theirs).any():
        raise ConfigError(
            f"{name} and {baseline} give the same {first.level}s to different patients",
            hint="score both predictions with the same labels",
        )
    return units
