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
    from numpy.typing import NDArray

    from dbtssl.evaluation.units import ScoreSet

BANDS = 10


def at_equal_depth(units: ScoreSet, depth: NDArray[np.float64], bands: int = BANDS) -> ScoreSet:
    """``units`` with each score as the share of the normal slices of its band of depth that lie below it.

    ``depth`` is ``(n,)``, slice over slices. Bands hold equally many normal slices; a tie counts one half; an abnormal
    slice beyond all normal ones belongs to the last band. `DataError` without a normal slice.
    """
    normal = ~units.abnormal
    if not normal.any():
        raise DataError("no normal slice to compare with", hint="score slices of both classes")
    inside = np.clip(depth, depth[normal].min(), depth[normal].max())
    edges = np.quantile(depth[normal], np.linspace(0, 1, bands + 1)[1:-1])
    band = np.searchsorted(edges, inside)
    placed = np.empty(len(depth))
    for k in np.unique(band):
        mine = band == k
        reference = np.sort(units.scores[mine & normal])
        below, upto = (
            np.searchsorted(reference, units.scores[mine], side) for side in ("left", "right")
        )
        placed[mine] = (below + upto) / (2 * len(reference))
    return replace(units, scores=placed)
