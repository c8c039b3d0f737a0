"""Specificity at a sensitivity, sensitivity at a specificity. A score strictly above a threshold is called abnormal.

The vertices of the ROC curve that matter lie at the distinct scores of abnormal units, its *cuts*: between two of them
the sensitivity stays and the specificity only falls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dbtssl.evaluation.operating_points.roc import turns, vertex_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.evaluation.operating_points.roc import SpecificityRule


class OperatingPoint(NamedTuple):
    """What is attained, and where; ``threshold`` is None between two vertices, which no threshold gives."""

    specificity: float
    sensitivity: float
    threshold: float | None


def all_thresholds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """All thresholds that differ, rising: below all scores, between neighbours, and the highest score."""
    values = np.unique(scores)
    middle = between(values[:-1], values[1:])
    return np.concatenate([[np.nextafter(values[0], -np.inf)], middle, values[-1:]])


def specificity_at(
    abnormal: NDArray[np.bool_],
    scores: NDArray[np.float64],
    sensitivity: float,
    rule: SpecificityRule = "at-least",
) -> OperatingPoint:
    """Specificity at ``sensitivity``; both classes must be there.

    ``at-least``: the best specificity of a vertex that reaches the sensitivity. ``interpolated``: linear between the
    vertices on both sides, as pROC's ``coords``; the same as ``at-least`` unless scores tie across the classes.
    ``nearest``: the vertex with the nearest sensitivity, below the target or above, the lower of equals, of those that
    scikit-learn's ``roc_curve`` keeps by default, as in SIFT-DBT's code (``utils.py:141``).
    """
    cuts = np.concatenate([[np.inf], np.unique(scores[abnormal])[::-1]])
    x, y = np.sort(scores[abnormal]), np.sort(scores[~abnormal])
    reached = (len(x) - np.searchsorted(x, cuts, side="left")) / len(x)
    if rule == "nearest":
        reached = np.where(_kept(x, y, cuts[1:]), reached, np.inf)
    index, back = vertex_at(reached[None], sensitivity, rule)
    cut, fraction = float(cuts[index[0]]), float(back[0])
    strictly, upto = (np.searchsorted(y, cut, side) / len(y) for side in ("left", "right"))
    specificity = float((1 - fraction) * strictly + fraction * upto)
    if fraction > 0:
        return OperatingPoint(specificity, sensitivity, None)
    threshold = float(scores.max()) if np.isinf(cut) else below(scores, cut)
    return OperatingPoint(specificity, float(reached[index[0]]), threshold)


def _kept(
    x: NDArray[np.float64], y: NDArray[np.float64], cuts: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """`turns` of one curve, from the sorted scores of abnormals and normals, ``(U + 1,)``."""
    counts = []
    for scores in (x, y):
        above, upto = (len(scores) - np.searchsorted(scores, cuts, s) for s in ("right", "left"))
        corners = np.stack([above, upto], axis=1).ravel()
        counts.append(np.concatenate([[0], corners, [len(scores)]]).astype(np.float64)[None])
    kept: NDArray[np.bool_] = turns(*counts)[0]
    return kept


def sensitivity_at(
    abnormal: NDArray[np.bool_],
    scores: NDArray[np.float64],
    specificity: float,
    rule: SpecificityRule = "at-least",
) -> OperatingPoint:
    """Sensitivity at ``specificity``: the same rules with the classes exchanged; both classes must be there."""
    mirror = specificity_at(~abnormal, -scores, specificity, rule)
    if mirror.threshold is None:
        return OperatingPoint(specificity, mirror.specificity, None)
    called = scores[scores >= -mirror.threshold]
    cut = below(scores, float(called.min())) if len(called) else float(scores.max())
    return OperatingPoint(mirror.sensitivity, mirror.specificity, cut)


def below(scores: NDArray[np.float64], cut: float) -> float:
    """The threshold that calls abnormal what is >= ``cut``, one of the scores: midway to the next lower score."""
    lower = scores[scores < cut]
    if not len(lower):
        return float(np.nextafter(cut, -np.inf))
    return float(between(lower.max(keepdims=True), np.array([cut]))[0])


def between(lower: NDArray[np.float64], upper: NDArray[np.float64]) -> NDArray[np.float64]:
    """Midpoints; the lower neighbour where no number lies between."""
    middle = lower / 2 + upper / 2
    inside = (lower < middle) & (middle < upper)
    return np.asarray(np.where(inside, middle, lower), dtype=np.float64)
