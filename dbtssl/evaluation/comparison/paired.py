"""Paired differences between methods on the same units, with their standard errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dbtssl.evaluation.metrics.curve_draws import curve_draws
from dbtssl.evaluation.statistics.clustered import clustered_covariance, patient_draws
from dbtssl.evaluation.statistics.intervals import positive_patients, too_few_patients
from dbtssl.evaluation.statistics.multi_reader import MIN_SEEDS, components, random_seeds
from dbtssl.evaluation.statistics.placements import placements

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from dbtssl.evaluation.metrics.metric import Metric
    from dbtssl.evaluation.operating_points.roc import SpecificityRule
    from dbtssl.evaluation.score_set import ScoreSet

NO_ERROR = 1e-9  # a standard error or a difference below it is rounding


class Paired(NamedTuple):
    """What one comparison gives; ``error`` and ``df`` are None where ``reason`` says why."""

    difference: float | None
    error: float | None
    df: float | None
    test: str
    reason: str = ""


def auc_differences(family: Mapping[str, Sequence[ScoreSet]], baseline: str) -> dict[str, Paired]:
    """Through the covariance of all AUCs, of every method and seed."""
    first = family[baseline][0]
    labels = [name for name, seeds in family.items() for _ in seeds]
    scores = [s.scores for seeds in family.values() for s in seeds]
    reason = too_few_patients(first)
    if reason:
        aucs = np.array([placements(first.abnormal, s).auc for s in scores])
        covariance = np.zeros((len(aucs), len(aucs)))
    else:
        aucs, covariance = clustered_covariance(first.abnormal, scores, first.patients)
    out = {}
    for name in family:
        if name == baseline:
            continue
        mine, theirs = (np.array([x == who for x in labels]) for who in (name, baseline))
        difference = float(aucs[mine].mean() - aucs[theirs].mean())
        if reason:
            out[name] = Paired(difference, None, None, "", reason)
            continue
        both = np.r_[np.flatnonzero(mine), np.flatnonzero(theirs)]
        out[name] = _tested(
            difference,
            aucs[both],
            covariance[np.ix_(both, both)],
            (int(mine.sum()), int(theirs.sum())),
            positive_patients(first) - 1,
        )
    return out


def _tested(
    difference: float,
    aucs: NDArray[np.float64],
    covariance: NDArray[np.float64],
    seeds: tuple[int, int],
    df: int,
) -> Paired:
    """Of AUCs and their covariance, the method's seeds first, then the baseline's."""
    random = seeds[0] == seeds[1] >= MIN_SEEDS
    if random:
        found = random_seeds(components(aucs.reshape(2, -1), covariance))
        error, freedom = found.error, min(found.df, float(df))
        test = f"Obuchowski-Rockette, {seeds[0]} seeds each; seeds and patients are random"
    else:
        weights = np.r_[np.full(seeds[0], 1 / seeds[0]), np.full(seeds[1], -1 / seeds[1])]
        error = float(np.sqrt(max(weights @ covariance @ weights, 0.0)))
        freedom = float(df)
        trainings = (
            "this training" if seeds == (1, 1) else f"these {seeds[0]} and {seeds[1]} trainings"
        )
        test = f"paired clustered t, for {trainings} as they are; patients are random"
    if error < NO_ERROR:
        if abs(difference) >= NO_ERROR:
            return Paired(difference, None, None, test, "the variance between patients is 0")
        error = 0.0
    return Paired(difference, error, freedom, test)


def drawn_differences(
    family: Mapping[str, Sequence[ScoreSet]], baseline: str, metric: Metric, rule: SpecificityRule
) -> dict[str, Paired]:
    """Through the paired patient bootstrap: the same draws for every method and seed."""
    first = family[baseline][0]
    assert metric.draws is not None
    if reason := metric.draws.undefined(first):
        return {n: Paired(None, None, None, "", reason) for n in family if n != baseline}
    reason = too_few_patients(first)
    weights = np.ones((1, len(np.unique(first.patients))))
    if not reason:
        weights = np.r_[weights, patient_draws(first.abnormal, first.patients)]
    drawn = {
        name: np.mean(
            [curve_draws(s, weights, rule, (metric,))[metric.name] for s in seeds], axis=0
        )
        for name, seeds in family.items()
    }
    out = {}
    for name in family:
        if name == baseline:
            continue
        draws = drawn[name] - drawn[baseline]
        difference = float(draws[0])
        if reason := reason or metric.draws.no_interval:
            out[name] = Paired(difference, None, None, "", reason)
            continue
        error = float(np.nanstd(draws[1:], ddof=1))
        if error < NO_ERROR and abs(difference) >= NO_ERROR:
            why = "every draw of patients gives the same difference"
            out[name] = Paired(difference, None, None, "", why)
            continue
        out[name] = Paired(
            difference,
            error,
            float(positive_patients(first) - 1),
            "paired patient bootstrap, for these trainings as they are",
            "only the AUC is tested; the other metrics have intervals",
        )
    return out
