"""The exact patient bootstrap: patients are drawn with replacement, and every draw's metrics are computed exactly.

One table of draws serves all methods and metrics, so differences are paired (see `operating_points.roc`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dbtssl.evaluation.metrics.metric import Metric
    from dbtssl.evaluation.operating_points.roc import SpecificityRule
    from dbtssl.evaluation.score_set import ScoreSet


def curve_draws(
    units: ScoreSet,
    weights: NDArray[np.float64],
    rule: SpecificityRule,
    metrics: Sequence[Metric],
) -> dict[str, NDArray[np.float64]]:
    """Each of ``metrics`` when patient p counts ``weights[d, p]`` times, exact, ``(D,)`` each.

    Both classes must be present. The result is nan for a draw without normals. Metrics without draws under ``rule``
    are left out. The curves of all metrics of one table are made once.
    """
    arrays = units.abnormal, units.scores, units.patients
    drawn = {m.name: m.draws for m in metrics if m.draws is not None and rule in m.draws.rules}
    blocks: dict[str, list[NDArray[np.float64]]] = {name: [] for name in drawn}
    for table in dict.fromkeys(draws.table for draws in drawn.values()):
        of_table = {name: draws for name, draws in drawn.items() if draws.table is table}
        for curves in table(*arrays).curves(weights):
            for name, draws in of_table.items():
                blocks[name].append(draws.of_curves(curves, rule))
    return {name: np.concatenate(parts) for name, parts in blocks.items()}
