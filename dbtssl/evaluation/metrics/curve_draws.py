"""The exact patient bootstrap: patients drawn with replacement, every draw's metrics computed exactly.

One table of draws serves all methods and metrics, so differences are paired (see `operating_points.roc`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dbtssl.evaluation.catalogue import MISSED, SENSITIVITY_AT, SPECIFICITY_AT
from dbtssl.evaluation.metrics.workload import left_out, workload_table
from dbtssl.evaluation.operating_points.roc import (
    Curves,
    SpecificityRule,
    area,
    area_at_sensitivity,
    area_at_specificity,
    average_precision,
    curve_table,
    mean_corrected,
    sensitivity_at,
    specificity_at,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtssl.evaluation.score_set import ScoreSet

OfCurve = Callable[[Curves, SpecificityRule], NDArray[np.float64]]


def _specificity(sensitivity: float) -> OfCurve:
    return lambda c, rule: specificity_at(c, sensitivity, rule)


def _sensitivity(specificity: float) -> OfCurve:
    return lambda c, rule: sensitivity_at(c, specificity, rule)


_SENS, _SPEC = 0.8, 0.9  # where the partial areas begin
OF_CURVE: dict[str, OfCurve] = {
    "auc": lambda c, _: area(c),
    "pauc-sens@80": lambda c, _: mean_corrected(area_at_sensitivity(c, _SENS), 1 - _SENS),
    "pauc-sens@80-raw": lambda c, _: area_at_sensitivity(c, _SENS),
    "pauc-spec@90": lambda c, _: mean_corrected(area_at_specificity(c, _SPEC), 1 - _SPEC),
    "pauc-spec@90-raw": lambda c, _: area_at_specificity(c, _SPEC),
    "ap": lambda c, _: average_precision(c),
    **{name: _specificity(target) for name, target in SPECIFICITY_AT.items()},
    **{name: _sensitivity(target) for name, target in SENSITIVITY_AT.items()},
}
CURVE_METRICS = (*OF_CURVE, *MISSED)


def curve_draws(
    units: ScoreSet,
    weights: NDArray[np.float64],
    rule: SpecificityRule,
    names: Sequence[str] = CURVE_METRICS,
) -> dict[str, NDArray[np.float64]]:
    """The metrics ``names`` when patient p counts ``weights[d, p]`` times, exact, ``(D,)`` each.

    Both classes must be there. It is nan where a draw has no normal. ``se@`` is left out for ``nearest``, whose
    vertices the curve does not hold.
    """
    arrays = units.abnormal, units.scores, units.patients
    on_curve = [
        n for n in names if n in OF_CURVE and not (n in SENSITIVITY_AT and rule == "nearest")
    ]
    on_patients = [n for n in names if n in MISSED]
    blocks: dict[str, list[NDArray[np.float64]]] = {name: [] for name in (*on_curve, *on_patients)}
    for curves in curve_table(*arrays).curves(weights) if on_curve else ():
        for name in on_curve:
            blocks[name].append(OF_CURVE[name](curves, rule))
    for curves in workload_table(*arrays).curves(weights) if on_patients else ():
        for name in on_patients:
            blocks[name].append(left_out(curves, MISSED[name]))
    return {name: np.concatenate(parts) for name, parts in blocks.items()}
