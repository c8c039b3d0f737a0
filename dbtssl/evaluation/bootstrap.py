"""The exact patient bootstrap: patients drawn with replacement, every draw's metrics computed exactly.

One table of draws serves all methods and metrics, so differences are paired (`dbtssl.evaluation.curve` makes it fast).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbtssl.evaluation.catalogue import MISSED, SENSITIVITY_AT, SPECIFICITY_AT
from dbtssl.evaluation.curve import (
    area,
    area_at_sensitivity,
    area_at_specificity,
    average_precision,
    curve_table,
    mean_corrected,
    sensitivity_at,
    specificity_at,
)
from dbtssl.evaluation.workload import left_out, workload_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.evaluation.curve import Curves
    from dbtssl.evaluation.protocol import SpecificityRule
    from dbtssl.evaluation.units import ScoreSet

LEAST_SENSITIVITY, LEAST_SPECIFICITY = 0.8, 0.9  # of the partial areas


def curve_metrics(c: Curves, rule: SpecificityRule) -> dict[str, NDArray[np.float64]]:
    """Every metric that a ROC curve gives, ``(D,)`` each; ``se@`` is left out for the rule ``nearest``."""
    high = area_at_sensitivity(c, LEAST_SENSITIVITY)
    low = area_at_specificity(c, LEAST_SPECIFICITY)
    found = {
        "auc": area(c),
        "pauc-sens@80": mean_corrected(high, 1 - LEAST_SENSITIVITY),
        "pauc-sens@80-raw": high,
        "pauc-spec@90": mean_corrected(low, 1 - LEAST_SPECIFICITY),
        "pauc-spec@90-raw": low,
        "ap": average_precision(c),
    }
    found |= {name: specificity_at(c, s, rule) for name, s in SPECIFICITY_AT.items()}
    if rule != "nearest":
        found |= {name: sensitivity_at(c, s, rule) for name, s in SENSITIVITY_AT.items()}
    return found


CURVE_METRICS = (
    "auc",
    "pauc-sens@80",
    "pauc-sens@80-raw",
    "pauc-spec@90",
    "pauc-spec@90-raw",
    "ap",
    *SPECIFICITY_AT,
    *SENSITIVITY_AT,
    *MISSED,
)


def curve_draws(
    units: ScoreSet, weights: NDArray[np.float64], rule: SpecificityRule
) -> dict[str, NDArray[np.float64]]:
    """All of `CURVE_METRICS` when patient p counts ``weights[d, p]`` times, exact, ``(D,)`` each.

    Both classes must be there. It is nan where a draw has no normal; ``se@`` is left out for the rule ``nearest``.
    """
    arrays = units.abnormal, units.scores, units.patients
    blocks = [curve_metrics(c, rule) for _, c in curve_table(*arrays).curves(weights)]
    blocks_out = [
        {name: left_out(c, missed) for name, missed in MISSED.items()}
        for _, c in workload_table(*arrays).curves(weights)
    ]
    return _joined(blocks) | _joined(blocks_out)


def _joined(blocks: list[dict[str, NDArray[np.float64]]]) -> dict[str, NDArray[np.float64]]:
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
