"""ROC curves of patients drawn with replacement, exact, all draws at once.

A curve is kept by its corners. With the distinct scores of abnormal units falling, c[0] > c[1] > ..., they are: nothing
called abnormal; then for each j the normals above c[j], and all that is at c[j] as well; at last everything. Between
corners it is straight, so areas are exact; the first corner at a sensitivity is where the specificity is best. A draw
gives every patient a weight, and the counts of all draws at all corners are two products of weights with sparse tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from scipy.sparse import csr_array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SpecificityRule = Literal["at-least", "interpolated", "nearest"]
SLACK = 1e-12  # a rate this little short of the target reaches it: 0.8 has no exact binary form
BLOCK_BYTES = 64 * 2**20  # bound on each array of the curves that are held at once


class Curves(NamedTuple):
    """D curves at each corner, ``(D, 2 U + 2)``: counts of what is called abnormal, and the same as fractions.

    All rise along each row. ``false_alarms`` is 1 - specificity; fractions are nan where a class is not drawn.
    """

    abnormal: NDArray[np.float64]
    normal: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    false_alarms: NDArray[np.float64]


@dataclass(frozen=True)
class CurveTable:
    """How many units of each patient are met between one corner and the next: sparse, ``(patients, 2 U + 1)``."""

    cuts: NDArray[np.float64]  # U, falling
    abnormal: csr_array
    normal: csr_array

    def curves(self, weights: NDArray[np.float64]) -> Iterator[Curves]:
        """The curves of draws ``weights`` ``(D, patients)``, in blocks of draws."""
        block = max(1, BLOCK_BYTES // (8 * (self.abnormal.shape[1] + 1)))
        for start in range(0, len(weights), block):
            part = weights[start : start + block]
            counts = [_from_nothing(part, table) for table in (self.abnormal, self.normal)]
            yield Curves(*counts, *map(_shares, counts))


def curve_table(
    abnormal: NDArray[np.bool_],
    scores: NDArray[np.float64],
    patients: NDArray[np.int64],
    kept: NDArray[np.bool_] | None = None,
) -> CurveTable:
    """Of units ``(n,)``, or of those ``kept``; all patients stay, in the order of their ids, as in `patient_draws`."""
    ids, codes = np.unique(patients, return_inverse=True)
    if kept is not None:
        abnormal, scores, codes = abnormal[kept], scores[kept], codes[kept]
    rising = np.unique(scores[abnormal])
    last = 2 * len(rising)
    position = np.searchsorted(rising, scores, side="left")  # of the lowest cut >= the score
    at_cut = np.zeros(len(scores), dtype=np.int64)
    inside = position < len(rising)
    at_cut[inside] = rising[position[inside]] == scores[inside]
    # a score at rising[k] is met at corner 2 (U - 1 - k) + 1, one between rising[k - 1] and rising[k] at 2 (U - k)
    corner = np.where(at_cut == 1, last - 1 - 2 * position, last - 2 * position)

    size = len(ids), last + 1
    tables = (patient_counts(codes[k], corner[k], size) for k in (abnormal, ~abnormal))
    return CurveTable(rising[::-1], *tables)


def patient_counts(
    codes: NDArray[np.int64], bins: NDArray[np.int64], size: tuple[int, int]
) -> csr_array:
    """How many units of each patient lie in each bin, sparse, of shape ``size``."""
    return csr_array((np.ones(len(codes)), (codes, bins)), shape=size)  # sums what falls together


def cumulated(weights: NDArray[np.float64], table: csr_array) -> NDArray[np.float64]:
    """Weighted units in bins 0 .. k, for each k, ``(D, bins)``."""
    return np.cumsum(weights @ table, axis=1, dtype=np.float64)


def area(c: Curves) -> NDArray[np.float64]:
    """AUC ``(D,)``; ties count one half."""
    return _area(c.false_alarms, c.sensitivity, 1.0)


def area_at_specificity(c: Curves, least: float) -> NDArray[np.float64]:
    """Area ``(D,)`` under the sensitivity where the specificity is at least ``least``; at most 1 - ``least``."""
    return _area(c.false_alarms, c.sensitivity, 1 - least)


def area_at_sensitivity(c: Curves, least: float) -> NDArray[np.float64]:
    """Area ``(D,)`` left of the curve, in specificity, where the sensitivity is at least ``least``."""
    return _area(1 - c.sensitivity[:, ::-1], 1 - c.false_alarms[:, ::-1], 1 - least)


def mean_corrected(area: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """A partial area over ``width`` so that chance is 1/2 and perfect 1 (McClish, Medical Decision Making 1989)."""
    chance = width**2 / 2
    return 0.5 * (1 + (area - chance) / (width - chance))


def average_precision(c: Curves) -> NDArray[np.float64]:
    """Sum of precision times the step in sensitivity over thresholds, ``(D,)``, as scikit-learn has it.

    nan where no normal is drawn, like every metric of a curve.
    """
    hits, alarms = c.abnormal[:, 0::2], c.normal[:, 0::2]  # after each cut
    called = hits + alarms
    precision = np.divide(hits, called, out=np.zeros_like(called), where=called > 0)
    steps: NDArray[np.float64] = np.diff(hits, axis=1) * precision[:, 1:]
    both = np.where(c.normal[:, -1] > 0, c.abnormal[:, -1], np.nan)
    return np.asarray(steps.sum(axis=1) / both, dtype=np.float64)


def specificity_at(
    c: Curves, sensitivity: float, rule: SpecificityRule = "at-least"
) -> NDArray[np.float64]:
    """Specificity ``(D,)`` at ``sensitivity``; the rules are those of `operating_points.specificity_at`."""
    reached = c.sensitivity[:, 0::2]
    if rule == "nearest":
        reached = np.where(turns(c.abnormal, c.normal), reached, np.inf)
    index, back = vertex_at(reached, sensitivity, rule)
    rows = np.arange(len(index))
    after = c.false_alarms[rows, 2 * index]
    before = c.false_alarms[rows, np.maximum(2 * index - 1, 0)]
    return np.asarray(1 - ((1 - back) * after + back * before), dtype=np.float64)


def sensitivity_at(
    c: Curves, specificity: float, rule: SpecificityRule = "at-least"
) -> NDArray[np.float64]:
    """Sensitivity ``(D,)`` at ``specificity``, by ``at-least`` or ``interpolated``; `ValueError` for ``nearest``.

    The vertex with the nearest specificity may lie at any normal score, and a curve's corners do not hold those.
    """
    if rule == "nearest":
        raise ValueError("corners do not hold the vertices of all normal scores")
    rows, limit = np.arange(len(c.normal)), 1 - specificity
    alarms = c.false_alarms
    index = np.maximum((alarms <= limit + SLACK).sum(axis=1) - 1, 0)
    after = np.minimum(index + 1, alarms.shape[1] - 1)
    here, step = alarms[rows, index], alarms[rows, after] - alarms[rows, index]
    low, high = c.sensitivity[rows, index], c.sensitivity[rows, after]
    fraction = np.zeros(len(rows))
    if rule == "interpolated":
        np.divide(limit - here, step, out=fraction, where=step > 0)
    value = low + np.clip(fraction, 0, 1) * (high - low)
    return np.asarray(np.where(np.isnan(alarms[:, -1]), np.nan, value), dtype=np.float64)


def vertex_at(
    reached: NDArray[np.float64], sensitivity: float, rule: SpecificityRule
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Choose a vertex on each of D curves.

    ``reached`` is ``(D, U + 1)``: sensitivities, rising from 0 to 1. Gives the vertex, ``(D,)``, and for
    ``interpolated`` the fraction of the way back towards the vertex before it, ``(D,)``.
    """
    rows = np.arange(len(reached))
    if rule == "nearest":
        return np.argmin(np.abs(reached - sensitivity), axis=1), np.zeros(len(reached))
    index = np.argmax(reached >= sensitivity - SLACK, axis=1)
    if rule == "at-least":
        return index, np.zeros(len(reached))
    here, before = reached[rows, index], reached[rows, np.maximum(index - 1, 0)]
    step = np.where(here > before, here - before, 1.0)
    return index, np.clip((here - sensitivity) / step, 0.0, 1.0)


def turns(abnormal: NDArray[np.float64], normal: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which vertices scikit-learn's ``roc_curve`` keeps by default: nothing, then the cuts, ``(D, U + 1)``.

    From counts at each corner, ``(D, 2 U + 2)``. It drops a score where as many units of either class lie as at the
    next lower score, but not the highest and the lowest: the vertices inside a straight run of equal steps.
    """
    size = abnormal.shape[1] // 2 - 1  # U
    after, before = slice(2, None, 2), slice(1, -1, 2)
    mine = np.diff(abnormal[:, 0::2], axis=1)
    tied = normal[:, after] - normal[:, before]
    drawn = mine > 0
    place = np.where(drawn, np.arange(size), size)
    later = np.minimum.accumulate(place[:, ::-1], axis=1)[:, ::-1]
    later = np.concatenate([later[:, 1:], np.full((len(later), 1), size)], axis=1)  # next cut drawn
    rows, other = np.arange(len(mine))[:, None], np.minimum(later, size - 1)
    straight = (
        (later < size)
        & (mine[rows, other] == mine)
        & (tied[rows, other] == tied)
        & (normal[:, before][rows, other] == normal[:, after])
        & (abnormal[:, before] + normal[:, before] > 0)
    )
    return np.concatenate([np.ones((len(mine), 1), np.bool_), drawn & ~straight], axis=1)


def _from_nothing(weights: NDArray[np.float64], table: csr_array) -> NDArray[np.float64]:
    return np.pad(cumulated(weights, table), ((0, 0), (1, 0)))


def _shares(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    total = counts[:, -1:]
    return np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)


def _area(x: NDArray[np.float64], y: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """Area ``(D,)`` under rising polylines ``(D, V)`` from x = 0 to ``limit``."""
    left, right = np.minimum(x[:, :-1], limit), np.minimum(x[:, 1:], limit)
    width, run = right - left, x[:, 1:] - x[:, :-1]
    slope = np.divide(y[:, 1:] - y[:, :-1], run, out=np.zeros_like(run), where=run > 0)
    height = y[:, :-1] + slope * width / 2
    return np.asarray((width * height).sum(axis=1), dtype=np.float64)
