"""Slices compared with slices of equal depth alone: the covariate-adjusted ROC curve of Janes and Pepe.

Lesions are annotated near the middle of the stack, so that a score that knows the depth of a slice alone has an AUC far
above one half. Janes and Pepe (Biometrika 2009, doi 10.1093/biomet/asp002) place each abnormal score among the normal
ones of the same covariate; the AUC of those places is the probability that an abnormal slice has a higher score than a
normal one of its depth.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dbtssl.errors import DataError

if TYPE_CHECKING:
    from dbtssl.evaluation.score_set import ScoreSet

BANDS = 10


def at_equal_depth(units: ScoreSet, bands: int = BANDS) -> ScoreSet:
    """``units`` with each score as the share of the normal slices of its band of depth that lie below it.

    Bands hold equally many normal slices, as far as equal depths allow; where that leaves one without any, the nearest
    other one takes its place. A tie counts one half; an abnormal slice beyond all normal ones belongs to the last band.
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
