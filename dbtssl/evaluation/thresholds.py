"""The threshold at which NPV, NR and AR are taken, as the protocol says, or the reason why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import logit

from dbtssl.evaluation.operating_points import balanced_threshold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.evaluation.protocol import Protocol
    from dbtssl.evaluation.units import ScoreSet
    from dbtssl.evaluation.values import Kind

GRID = np.arange(101) / 100  # probabilities (SIFT-DBT, `volume_eval.py:84`)


class Threshold(NamedTuple):
    """A score above ``value`` is called abnormal; where it is None, ``reason`` says why in words."""

    value: float | None
    reason: str = ""


def threshold_for(
    test: ScoreSet, val: ScoreSet | None, protocol: Protocol, kind: Kind = "method"
) -> Threshold:
    """The threshold for the scores of ``test``; under a rule of validation, ``test`` itself decides nothing."""
    rule = protocol.slice_threshold if test.level == "slice" else protocol.threshold
    if rule == "validation-balanced":
        if val is None:
            return Threshold(None, "no threshold: no validation predictions were given")
        if reason := one_class(val, "validation"):
            return Threshold(None, f"no threshold: {reason}")
        return Threshold(balanced_threshold(val.abnormal, val.scores))
    if kind != "method":
        return Threshold(None, f"no threshold: protocol {protocol.name} takes a probability")
    if rule == "one-half":
        return Threshold(0.0)
    return Threshold(balanced_grid_threshold(test.abnormal, test.scores))


def balanced_grid_threshold(abnormal: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """The logit of the probability among 0, 0.01, ... 1 with the least |NR - AR|, the lowest of equals.

    ``scores`` are logits of both classes. Scores above 0.99 cannot be balanced: the grid ends there. For the
    probabilities 0 and 1, whose logits are not finite, it is a number that divides the scores as they do.
    """
    with np.errstate(divide="ignore"):
        candidates = logit(GRID)
    x, y = np.sort(scores[abnormal]), np.sort(scores[~abnormal])
    recall_abnormal = 1 - np.searchsorted(x, candidates, side="right") / len(x)
    recall_normal = np.searchsorted(y, candidates, side="right") / len(y)
    best = int(np.argmin(np.abs(recall_normal - recall_abnormal)))
    if best == 0:
        return float(np.nextafter(scores.min(), -np.inf))
    return float(candidates[best]) if best < len(GRID) - 1 else float(scores.max())


def one_class(units: ScoreSet, split: str) -> str:
    """Why a set of units of one class cannot be scored; empty where both classes are there."""
    if units.abnormal.all():
        return f"the {split} split has no normal {units.level}"
    if not units.abnormal.any():
        return f"the {split} split has no abnormal {units.level}"
    return ""
