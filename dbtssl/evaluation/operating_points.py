"""Thresholds, and the specificity at a sensitivity. A score strictly above the threshold is called abnormal.

The vertices of the ROC curve that matter lie at the distinct scores of abnormal units, its *cuts*: between two of them
the sensitivity stays and the specificity only falls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.evaluation.protocol import SpecificityRule

SLACK = 1e-12  # a sensitivity this little below the target reaches it: 0.8 has no exact binary form


class OperatingPoint(NamedTuple):
    """What is attained, and where; ``threshold`` is None between two vertices, which no threshold gives."""

    specificity: float
    sensitivity: float
    threshold: float | None


def balanced_threshold(abnormal: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """The threshold with the least |NR - AR| among all that differ, the lowest of equals.

    Thresholds lie midway between neighbouring scores; both classes must be there. SIFT-DBT's code searches the grid
    0, 0.01, ... 1 of probabilities instead (``volume_eval.py:84``), which cannot balance saturated scores.
    """
    values = np.unique(scores)
    candidates = np.r_[
        _below(values, float(values[0])), _between(values[:-1], values[1:]), values[-1]
    ]
    x, y = np.sort(scores[abnormal]), np.sort(scores[~abnormal])
    recall_abnormal = 1 - np.searchsorted(x, candidates, side="right") / len(x)
    recall_normal = np.searchsorted(y, candidates, side="right") / len(y)
    return float(candidates[np.argmin(np.abs(recall_normal - recall_abnormal))])


def specificity_at(
    abnormal: NDArray[np.bool_],
    scores: NDArray[np.float64],
    sensitivity: float,
    rule: SpecificityRule = "at-least",
) -> OperatingPoint:
    """Specificity at ``sensitivity``; both classes must be there.

    ``at-least``: the best specificity of a vertex that reaches the sensitivity. ``interpolated``: linear between the
    vertices on both sides, as pROC's ``coords``; the same as ``at-least`` unless scores tie across the classes.
    ``nearest``: the vertex with the nearest sensitivity, below the target or above, the lower of equals, as in
    SIFT-DBT's code (``utils.py:141``).
    """
    cuts = cuts_of(scores[abnormal])
    reached = (scores[abnormal][None] >= cuts[:, None]).mean(axis=1)
    index, back = vertex_at(reached[None], sensitivity, rule)
    cut, share = float(cuts[index[0]]), float(back[0])
    normal = scores[~abnormal]
    specificity = float((1 - share) * (normal < cut).mean() + share * (normal <= cut).mean())
    if share > 0:
        return OperatingPoint(specificity, sensitivity, None)
    values = np.unique(scores)
    threshold = float(values[-1] if np.isinf(cut) else _below(values, cut))
    return OperatingPoint(specificity, float(reached[index[0]]), threshold)


def cuts_of(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Infinity and the distinct ``scores``, falling, ``(U + 1,)``: vertex j calls abnormal what is >= ``cuts[j]``."""
    return np.concatenate([[np.inf], np.unique(scores)[::-1]])


def vertex_at(
    reached: NDArray[np.float64], sensitivity: float, rule: SpecificityRule
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Choose a vertex on each of D curves.

    ``reached`` is ``(D, U + 1)``: sensitivities, rising from 0 to 1. Gives the vertex, ``(D,)``, and for
    ``interpolated`` the share of the way back towards the vertex before it, ``(D,)``.
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


def _between(lower: NDArray[np.float64], upper: NDArray[np.float64]) -> NDArray[np.float64]:
    """Midpoints; the lower neighbour where no number lies between."""
    middle = lower + (upper - lower) / 2
    return np.asarray(np.where(middle < upper, middle, lower), dtype=np.float64)


def _below(values: NDArray[np.float64], cut: float) -> float:
    """The threshold that calls abnormal what is >= ``cut``, one of the rising ``values``."""
    position = int(np.searchsorted(values, cut))
    if position == 0:
        return float(np.nextafter(cut, -np.inf))
    return float(_between(values[position - 1 : position], values[position : position + 1])[0])
