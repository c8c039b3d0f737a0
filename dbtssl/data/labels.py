"""Slice labels from boxes (SIFT-DBT, section 3.1: slices near an annotated one are abnormal)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.data.records import Volume

REACH = 4  # slices on either side of an annotated one; the released SIFT-DBT code takes 4 and 3


def abnormal_slices(volume: Volume, before: int = REACH, after: int = REACH) -> NDArray[np.bool_]:
    """Which slices of ``volume`` are abnormal, shape ``(n_slices,)``.

    The union over its boxes of the slices from ``z - before`` to ``z + after``, both included, cut at the ends of the
    volume. The released SIFT-DBT code has ``before=4, after=3``, eight slices a box, and so has the protocol
    ``as-published``; the symmetric window is the default.
    """
    out = np.zeros(volume.n_slices, dtype=np.bool_)
    for box in volume.boxes:
        out[max(0, box.z - before) : max(0, box.z + after + 1)] = True
    return out
