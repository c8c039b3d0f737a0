"""Methods against a named baseline on the same units: paired, patients as clusters, corrected for multiple testing.

sets = {"moco-v2": [seed0, seed1, seed2], "sift-dbt": [seed0, seed1, seed2]}     # `ScoreSet`s
for d in compare(sets, baseline="moco-v2"):
    print(d.method, d.difference, d.low, d.high, d.p_holm)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field
from scipy.stats import t as student

from dbtssl.config import Config, did_you_mean
from dbtssl.errors import ConfigError
from dbtssl.evaluation.catalogue import CATALOGUE, COMPARABLE
from dbtssl.evaluation.comparison.paired import auc_differences, drawn_differences
from dbtssl.evaluation.statistics.intervals import positive_patients, refuse_not_finite
from dbtssl.interfaces import Level

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dbtssl.evaluation.comparison.paired import Paired
    from dbtssl.evaluation.operating_points.roc import SpecificityRule
    from dbtssl.evaluation.score_set import ScoreSet


class Difference(Config):
    """A method minus the baseline; ``reason`` explains a None."""

    baseline: str = Field(description="name of the baseline")
    method: str = Field(description="name of the method")
    level: Level = Field(description="what a unit is")
    metric: str = Field(description="name of the metric, as in the catalogue")
    evaluation_set: str = Field(description="hash of the units' sorted ids and labels")
    difference: float | None = Field(
        default=None, description="mean over seeds, minus the baseline's"
    )
    low: float | None = Field(default=None, description="lower end of the interval")
    high: float | None = Field(default=None, description="upper end of the interval")
    p: float | None = Field(default=None, description="two-sided, of this comparison alone")
    p_holm: float | None = Field(default=None, description="corrected for all of the call")
    error: float | None = Field(default=None, description="standard error of the difference")
    df: float | None = Field(default=None, description="degrees of freedom of t")
    test: str = Field(default="", description="what was tested, as text")
    reason: str = Field(default="", description="why something is missing")
    n_pos_patients: int = Field(description="patients with an abnormal unit")
    seeds: int = Field(description="trainings of the method")
    baseline_seeds: int = Field(description="trainings of the baseline")


def compare(
    sets: Mapping[str, Sequence[ScoreSet]],
    baseline: str,
    *,
    metric: str = "auc",
    confidence: float = 0.95,
    rule: SpecificityRule = "at-least",
) -> tuple[Difference, ...]:
    """Every method of ``sets`` except the baseline, in order; one `ScoreSet` per seed.

    With at least three seeds of both: Obuchowski and Rockette's test, seeds and patients random, Hillis' degrees of
    freedom, at most positive patients - 1. With fewer, or different numbers of seeds: Obuchowski's paired clustered
    covariance of the mean over seeds, t with (positive patients - 1) degrees of freedom; it is valid for these
    trainings only, and ``test`` says so. Holm's correction is over the comparisons of the call.

    ``auc-depth`` is the same for scores at equal depth (`at_equal_depth`), for slices only. The other metrics of
    `COMPARABLE` have a paired bootstrap interval and no p; ``rule`` is the protocol's, for sp@ and se@.

    Raises:
        ConfigError: the baseline is missing, a method has no seeds, the metric cannot be compared, or the sets are not
            of the same units.
        DataError: scores are not finite.
    """
    entry = CATALOGUE.get(metric)
    if (
        entry is None
        or not entry.comparable
        or (entry.draws is not None and rule not in entry.draws.rules)
    ):
        raise ConfigError(
            f"{metric!r} cannot be compared under the rule {rule}.{did_you_mean(metric, COMPARABLE)}",
            hint=f"choose one of: {', '.join(COMPARABLE)}",
        )
    family = same_units(sets, baseline)
    first = family[baseline][0]
    common = {
        "baseline": baseline,
        "level": first.level,
        "metric": metric,
        "evaluation_set": first.evaluation_set,
        "n_pos_patients": positive_patients(first),
        "baseline_seeds": len(family[baseline]),
    }
    if first.abnormal.all() or not first.abnormal.any():
        missing = "normal" if first.abnormal.all() else "abnormal"
        reason = f"there is no {missing} {first.level}"
        found = [
            Difference(method=name, seeds=len(family[name]), reason=reason, **common)
            for name in family
            if name != baseline
        ]
        return tuple(found)
    if (transform := entry.scores) is not None:
        family = {name: [transform(s) for s in seeds] for name, seeds in family.items()}
    measured = (
        auc_differences(family, baseline)
        if entry.tested
        else drawn_differences(family, baseline, entry, rule)
    )
    found = [
        Difference(
            method=name,
            seeds=len(family[name]),
            **common,
            **_fields(of, confidence, tested=entry.tested),
        )
        for name, of in measured.items()
    ]
    corrected = holm([d.p for d in found])
    return tuple(d.model_copy(update={"p_holm": p}) for d, p in zip(found, corrected, strict=True))


def indistinguishable(
    sets: Mapping[str, Sequence[ScoreSet]],
    best: str,
    *,
    metric: str = "auc",
    confidence: float = 0.95,
    rule: SpecificityRule = "at-least",
) -> tuple[str, ...]:
    """Names, without ``best``, whose paired interval against it contains 0, or that have no interval."""
    found = compare(sets, best, metric=metric, confidence=confidence, rule=rule)
    return tuple(d.method for d in found if d.low is None or d.high is None or d.low <= 0 <= d.high)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction (1979) of all p values that are not None."""
    known = sorted((value, i) for i, value in enumerate(p) if value is not None)
    out: list[float | None] = [None] * len(p)
    largest = 0.0
    for step, (value, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - step) * value))
        out[i] = largest
    return out


def _fields(found: Paired, confidence: float, *, tested: bool) -> dict[str, Any]:
    """Interval and p of a `Difference`."""
    out: dict[str, Any] = {
        "difference": found.difference,
        "test": found.test,
        "reason": found.reason,
    }
    if found.difference is None or found.error is None or found.df is None:
        return out
    half = float(student.ppf(0.5 + confidence / 2, found.df)) * found.error
    out |= {
        "low": found.difference - half,
        "high": found.difference + half,
        "error": found.error,
        "df": found.df,
    }
    if tested:
        shift = abs(found.difference) / found.error if found.error else 0.0
        out["p"] = float(2 * student.sf(shift, found.df))
    return out


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
            raise ConfigError(
                f"method {name!r} has no scores", hint="remove it from the comparison"
            )
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
