"""Slices compared only with slices of equal depth: the covariate-adjusted ROC curve of Janes and Pepe.

Lesions are annotated near the middle of the stack, so a score that depends only on the depth of a slice has an AUC far
above one half. Janes and Pepe (Biometrika 2009, doi 10.1093/biomet/asp002) take the placement of each abnormal score
among the normal ones of the same covariate; the AUC of the placements is the probability that an abnormal slice has a
higher score than a normal one of its depth.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dbtssl.errors import DataError
from dbtssl.evaluation.metrics.metric import Metric
from dbtssl.evaluation.statistics.intervals import auc_value
from dbtssl.evaluation.values import Value

if TYPE_CHECKING:
    from dbtssl.evaluation.metrics.metric import Case
    from dbtssl.evaluation.score_set import ScoreSet

BANDS = 10
NO_DEPTH = "only slices have a depth in the stack"


def at_equal_depth(units: ScoreSet, bands: int = BANDS) -> ScoreSet:
    """``units`` with each score replaced by the fraction of the normal slices of its depth band that lie below it.

    Bands hold equally many normal slices, as far as equal depths allow; a band that is left without any is replaced by
    the nearest other one. A tie counts one half; an abnormal slice beyond all normal ones belongs to the last band.
    `DataError` without a normal slice, and for units that have no depth.
    """
    if units.depth is None:
        raise DataError(
            f"{units.level}s have no depth in the stack", hint="compare slices at equal depth"
        )
    normal, depth = ~units.abnormal, units.depth
    if not normal.any():
        raise DataError("no normal slice to compare with", hint="score slices of both classes")
    inside = np.clip(depth, depth[normal].min(), depth[normal].max())
    edges = np.quantile(depth[normal], np.linspace(0, 1, bands + 1)[1:-1])
    band = np.searchsorted(edges, inside)
    filled = np.unique(band[normal])
    band = filled[np.abs(band[:, None] - filled).argmin(axis=1)]
    placed = np.empty(len(depth))
    for k in np.unique(band):
        mine = band == k
        reference = np.sort(units.scores[mine & normal])
        below, upto = (
            np.searchsorted(reference, units.scores[mine], side) for side in ("left", "right")
        )
        placed[mine] = (below + upto) / (2 * len(reference))
    return replace(units, scores=placed)


def _auc_at_depth(metric: Metric, case: Case) -> Value:
    if case.units.depth is None:
        return Value(reason=NO_DEPTH)
    return auc_value(at_equal_depth(case.units), case.protocol)


AUC_AT_DEPTH = Metric(
    "auc-depth",
    "AUC at depth",
    "AUC of abnormal slices against normal slices of their depth in the stack alone",
    compute=_auc_at_depth,
    interval="covariance",
    scores=at_equal_depth,
    levels=("slice",),
    all_normal=lambda normals: 0.5,
)
