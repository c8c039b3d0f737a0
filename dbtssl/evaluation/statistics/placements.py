"""The area under the ROC curve and the rates at a threshold. Units are slices or volumes; True is abnormal."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.stats import rankdata

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Placements(NamedTuple):
    """The AUC and placement values: for each abnormal the fraction of normals below it, for each normal the fraction
    of abnormals above it; ties count one half (DeLong, DeLong and Clarke-Pearson 1988)."""

    auc: float
    abnormal: NDArray[np.float64]
    normal: NDArray[np.float64]


def placements(abnormal: NDArray[np.bool_], scores: NDArray[np.float64]) -> Placements:
    """Mann-Whitney's statistic through midranks; both classes must be there."""
    x, y = scores[abnormal], scores[~abnormal]
    ranks = rankdata(np.r_[x, y])
    of_x = (ranks[: len(x)] - rankdata(x)) / len(y)
    of_y = 1 - (ranks[len(x) :] - rankdata(y)) / len(x)
    return Placements(float(of_x.mean()), of_x, of_y)
