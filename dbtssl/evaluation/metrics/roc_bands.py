"""Curves of a report: ROC with its band, and reliability."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import expit
from scipy.stats import rankdata

from dbtssl.evaluation.metrics.calibration import undo_resampling
from dbtssl.evaluation.statistics.clustered import patient_draws, proportion_interval
from dbtssl.evaluation.statistics.intervals import too_few_patients

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dbtssl.evaluation.score_set import ScoreSet

BAND_DRAWS = 1000  # a pointwise 2.5 % point then rests on 25 draws
MOST_CUTS = 400  # of a drawn curve; a set with fewer distinct scores keeps all of them
BINS = 10  # of a reliability curve
GRID = np.linspace(0.0, 1.0, 201)  # shares of false alarms at which a band is given


class Roc(NamedTuple):
    """Share of normals called abnormal and sensitivity, both rising from 0 to 1, ``(K,)``."""

    false_alarms: NDArray[np.float64]
    sensitivity: NDArray[np.float64]


class Band(NamedTuple):
    """Sensitivity at the shares of false alarms `GRID`: mean over seeds, and a pointwise interval, ``(G,)``."""

    middle: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def roc(units: ScoreSet) -> Roc:
    """All vertices but those inside a straight run, as scikit-learn's ``roc_curve``; both classes must be there."""
    order = np.argsort(-units.scores, kind="stable")
    scores, abnormal = units.scores[order], units.abnormal[order]
    last = np.r_[np.flatnonzero(np.diff(scores)), len(scores) - 1]  # last unit of each score
    hits, alarms = np.cumsum(abnormal)[last], np.cumsum(~abnormal)[last]
    x, y = np.r_[0, alarms] / alarms[-1], np.r_[0, hits] / hits[-1]
    keep = np.r_[True, (np.diff(x, 2) != 0) | (np.diff(y, 2) != 0), True]
    return Roc(x[keep], y[keep])


def roc_band(sets: Sequence[ScoreSet], confidence: float, draws: int = BAND_DRAWS) -> Band | None:
    """Mean sensitivity of the seeds ``sets`` at `GRID`, with pointwise percentiles of the patient bootstrap.

    All seeds share units. Patients are drawn with replacement, stratified by having an abnormal unit, the same for
    every seed. None with too few patients.
    """
    first = sets[0]
    if too_few_patients(first):
        return None
    _, codes = np.unique(first.patients, return_inverse=True)
    weights = np.vstack(
        [np.ones((1, int(codes.max()) + 1)), patient_draws(first.abnormal, first.patients, draws)]
    )
    curves = np.mean([_drawn(s, codes, weights) for s in sets], axis=0)
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(curves[1:], [tail, 1 - tail], axis=0)
    return Band(curves[0], low, high)


def _drawn(
    units: ScoreSet, codes: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sensitivity at `GRID` when patient p counts ``weights[d, p]`` times, ``(D, G)``."""
    cuts = np.unique(units.scores)[::-1]
    if len(cuts) > MOST_CUTS:
        kept = np.linspace(0, len(cuts) - 1, MOST_CUTS).round().astype(int)
        cuts = cuts[kept]
    patients = weights.shape[1]

    def shares(of: NDArray[np.bool_]) -> NDArray[np.float64]:
        place = np.searchsorted(-cuts, -units.scores[of])  # first cut that calls the unit abnormal
        table = np.bincount(codes[of] * len(cuts) + place, minlength=patients * len(cuts))
        called = np.cumsum(weights @ table.reshape(patients, -1).astype(np.float64), axis=1)
        total = np.where(called[:, -1:] > 0, called[:, -1:], np.nan)
        return np.concatenate([np.zeros((len(weights), 1)), called / total], axis=1)

    x, y = shares(~units.abnormal), shares(units.abnormal)
    return np.stack([np.interp(GRID, x[i], y[i]) for i in range(len(weights))])


class Bin(NamedTuple):
    """Units of like scores: mean probability, and the share of abnormals with its interval over patients."""

    predicted: float
    observed: float
    low: float
    high: float


def reliability(units: ScoreSet, prevalence: float, confidence: float) -> tuple[Bin, ...]:
    """`BINS` bins of equally many units by their logit, ties in one bin, with the 1:1 resampling of training undone.

    Intervals are Wilson's with the effective sample size, patients as clusters; bins of fewer than two patients are
    left out.
    """
    logits = undo_resampling(units.scores, prevalence)
    number = np.minimum((rankdata(logits) - 0.5) * BINS / len(logits), BINS - 1).astype(np.intp)
    out = []
    for one in np.unique(number):
        among = number == one
        patients, codes = np.unique(units.patients[among], return_inverse=True)
        if len(patients) < 2:
            continue
        hits = np.bincount(codes[units.abnormal[among]], minlength=len(patients)).astype(np.float64)
        count = np.bincount(codes, minlength=len(patients)).astype(np.float64)
        low, high = proportion_interval(hits, count, len(patients) - 1, confidence)
        predicted, observed = expit(logits[among]).mean(), units.abnormal[among].mean()
        out.append(Bin(float(predicted), float(observed), low, high))
    return tuple(out)
