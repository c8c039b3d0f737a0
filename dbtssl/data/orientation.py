"""On which side the breast is stored, and turning it to where the view's name says.

Some BCS-DBT volumes are stored rotated by 180 degrees, and the laterality in their headers is of no use. The official
reader (mazurowski-lab/duke-dbt-data) looks at the chest wall: it takes the side whose edge column is brighter. It does
so for a single frame, and so may disagree with itself within a volume; here a volume is decided once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

S = TypeVar("S", bound=np.generic)

MIDDLE = 3  # frames about the middle that decide; one in twenty is then decoded twice


def middle_slices(n_slices: int, count: int = MIDDLE) -> range:
    """The ``count`` slices about the middle of a volume, fewer where it has fewer."""
    first = max(0, (n_slices - count) // 2)
    return range(first, min(n_slices, first + count))


def stored_side(frames: NDArray[np.generic]) -> str:
    """``l`` or ``r``: the side of the brighter edge column of ``frames`` ``(..., rows, columns)``, summed."""
    left, right = (frames[..., column].sum(dtype=np.float64) for column in (0, -1))
    return "r" if left < right else "l"


def is_rotated(frames: NDArray[np.generic], side: str) -> bool:
    """Whether ``frames`` ``(..., rows, columns)`` of a breast of ``side`` (``l`` or ``r``) are stored rotated."""
    return stored_side(frames) != side


def rotate(frames: NDArray[S]) -> NDArray[S]:
    """Turn ``frames`` ``(..., rows, columns)`` by 180 degrees in their plane; a view, nothing is copied."""
    return frames[..., ::-1, ::-1]
