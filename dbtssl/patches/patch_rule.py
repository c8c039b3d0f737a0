"""Where patches lie: the tissue rule of both classes, fixed places and a lattice to score, lesion places to train.

Everything is exact: the corners whose patch holds enough tissue are counted with an integral image and drawn
uniformly from their list. The released SIFT-DBT code redraws in an unbounded loop instead
(`dataset/BCS_DBT_cls_dataset.py:408`).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from dbtssl.data.records import Box, Rect
from dbtssl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

MIN_TISSUE = 0.01  # least share of tissue in a patch (`--patch-eps` of the released code)


@dataclass(frozen=True)
class PatchRule:
    """A square patch of ``size`` pixels and the least share of tissue that it must hold; the same for both classes.

    SIFT-DBT's released code has 448 pixels at a short side of 1024, and 0.01 (`--patch-eps`).
    """

    size: int
    min_tissue: float = MIN_TISSUE

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(f"patch size: got {self.size}, expected 1 or more pixels")
        if not 0.0 <= self.min_tissue <= 1.0:
            raise ConfigError(f"min_tissue: got {self.min_tissue}, expected a share from 0 to 1")

    @property
    def least(self) -> int:
        """The least number of tissue pixels in a patch."""
        area = self.size**2
        below = int(self.min_tissue * area)
        return below if below / area >= self.min_tissue else below + 1

    def rect(self, y: int, x: int) -> Rect:
        """The patch whose top-left corner is at row ``y`` and column ``x``."""
        return Rect(y, x, y + self.size, x + self.size)


@dataclass(frozen=True)
class Places:
    """The corners that a patch of one volume may have, as runs along the rows of the grid of corners.

    ``ends[i]`` corners lie in the runs up to and with run ``i``; in it, corner number k has the flat index
    ``k + shifts[i]`` of a grid ``columns`` wide. A volume of 2457 x 1996 pixels takes some 30 kB.
    """

    ends: NDArray[np.int64]
    shifts: NDArray[np.int64]
    columns: int

    def __len__(self) -> int:
        return int(self.ends[-1])

    def corners(self, ranks: NDArray[np.int64]) -> NDArray[np.int32]:
        """Corners ``(y, x)`` number ``ranks`` (from 0, row by row), shape ``(len(ranks), 2)``."""
        flat = ranks + self.shifts[np.searchsorted(self.ends, ranks, side="right")]
        return np.stack(np.divmod(flat, self.columns), axis=1).astype(np.int32)


def tissue_in_patches(size: int, tissue: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Pixels of tissue in the patch at every corner, shape ``(max(1, rows - size + 1), max(1, columns - size + 1))``.

    ``tissue`` is ``(rows, columns)``; a slice smaller than the patch has one corner and is padded with air.
    """
    rows, columns = tissue.shape
    total = np.zeros((max(rows, size) + 1, max(columns, size) + 1), dtype=np.int32)
    inner = total[1 : rows + 1, 1 : columns + 1]
    np.cumsum(tissue, axis=0, dtype=np.int32, out=inner)
    np.cumsum(inner, axis=1, out=inner)
    total[rows + 1 :] = total[rows]
    total[:, columns + 1 :] = total[:, columns : columns + 1]
    tall = total[size:] - total[:-size]
    counts: NDArray[np.int32] = tall[:, size:] - tall[:, :-size]
    return counts


def places(rule: PatchRule, tissue: NDArray[np.bool_]) -> Places:
    """The corners whose patch holds at least ``rule.min_tissue`` of tissue (SIFT-DBT, section 2.3).

    ``tissue`` is the volume's mask, ``(rows, columns)``. Where no patch holds so much, the first corner with the most
    tissue is the only one.
    """
    inside = tissue_in_patches(rule.size, tissue)
    allowed = inside >= rule.least
    if not allowed.any():
        allowed.flat[inside.argmax()] = True
    columns = allowed.shape[1]
    edges = np.zeros((len(allowed), columns + 1), dtype=np.int8)
    edges[:, :columns] = allowed
    edges[:, 1:] -= allowed
    row, start = np.nonzero(edges == 1)
    stop = np.nonzero(edges == -1)[1]
    ends = np.cumsum(stop - start)
    return Places(ends, row * columns + stop - ends, columns)


def fixed_corners(
    where: Places, volume_id: str, z: int, count: int, seed: int
) -> NDArray[np.int32]:
    """The ``(y, x)`` corners of ``count`` patches of a slice, drawn uniformly, shape ``(count, 2)``.

    Each depends on (seed, volume, slice, patch number) alone: the first n of 20 are the n of any other count, and
    neither batches, order, workers nor the version of numpy move them.
    """
    n = len(where)
    ranks = [_draw(f"{seed}/{volume_id}/{z}/{k}", n) for k in range(count)]
    return where.corners(np.array(ranks, dtype=np.int64))


def oracle_corners(
    size: int,
    boxes: Sequence[Box],
    volume_id: str,
    z: int,
    shape: tuple[int, int],
    count: int,
    seed: int,
) -> NDArray[np.int32]:
    """Corners of ``count`` patches that contain a box of the annotated slice nearest to ``z``, shape ``(count, 2)``.

    For a diagnostic only: the released SIFT-DBT code places test patches so (`dataset/BCS_DBT_cls_dataset.py:460-483`).
    Each depends on (seed, volume, slice, patch number) alone. ``boxes`` is not empty.
    """
    least = min(abs(box.z - z) for box in boxes)
    nearest = [box for box in boxes if abs(box.z - z) == least]
    out = np.empty((count, 2), dtype=np.int32)
    for k in range(count):
        key = f"{seed}/{volume_id}/{z}/{k}/oracle"
        where = lesion_corners(size, nearest[_draw(f"{key}/box", len(nearest))], shape)
        out[k, 0] = where.y0 + _draw(f"{key}/y", where.y1 - where.y0)
        out[k, 1] = where.x0 + _draw(f"{key}/x", where.x1 - where.x0)
    return out


def grid_corners(size: int, tissue: NDArray[np.bool_], overlap: float) -> NDArray[np.int32]:
    """Corners of patches on a lattice: every pixel of tissue lies in at least one, shape ``(patches, 2)``, row by row.

    The lattice spans the box around ``tissue``, ``(rows, columns)``. Its lines are evenly spaced, at most
    ``(1 - overlap) * size`` pixels apart, and end where the box ends or the slice. Patches without any tissue are left
    out; the least share of tissue of the random places does not count here, or tissue would be lost.
    """
    box = Rect.around(tissue)
    step = max(1, int(size * (1 - overlap)))
    ys = _lines(box.y0, box.y1, size, step, tissue.shape[0])
    xs = _lines(box.x0, box.x1, size, step, tissue.shape[1])
    corners = np.stack(np.meshgrid(ys, xs, indexing="ij"), axis=-1).reshape(-1, 2)
    inside = tissue_in_patches(size, tissue)[corners[:, 0], corners[:, 1]] > 0
    kept: NDArray[np.int32] = corners[inside].astype(np.int32)
    return kept if len(kept) else corners[:1].astype(np.int32)


def random_corner(where: Places, rng: Generator) -> tuple[int, int]:
    """One corner ``(y, x)``, uniform over ``where``."""
    y, x = where.corners(rng.integers(len(where), size=1))[0]
    return int(y), int(x)


def lesion_corners(size: int, box: Box, shape: tuple[int, int]) -> Rect:
    """The corners whose patch contains the whole box, as half-open ranges; never empty and kept inside the slice.

    Along an axis where the box is longer than the patch the patch lies within the box (released code, :460-483).
    ``shape`` is the slice's ``(rows, columns)``; the part of a box outside the slice does not count.
    """
    rows, columns = shape
    y0, y1 = _corner_range(box.y, box.y + box.height, size, rows)
    x0, x1 = _corner_range(box.x, box.x + box.width, size, columns)
    return Rect(y0, x0, y1, x1)


def lesion_corner(
    size: int, boxes: Sequence[Box], z: int, shape: tuple[int, int], rng: Generator
) -> tuple[int, int]:
    """A corner ``(y, x)`` whose patch contains a box of the annotated slice nearest to ``z``.

    For training only. Of several nearest boxes one is drawn. ``boxes`` is not empty.
    """
    least = min(abs(box.z - z) for box in boxes)
    nearest = [box for box in boxes if abs(box.z - z) == least]
    corners = lesion_corners(size, nearest[int(rng.integers(len(nearest)))], shape)
    return int(rng.integers(corners.y0, corners.y1)), int(rng.integers(corners.x0, corners.x1))


def _corner_range(low: float, high: float, size: int, length: int) -> tuple[int, int]:
    """Half-open range of corners along one axis of ``length`` pixels for a box from ``low`` to ``high``."""
    first = min(max(int(np.floor(low)), 0), length - 1)
    last = max(min(int(np.ceil(high)), length), first + 1)
    ends = (first, last - size)
    room = max(0, length - size)
    return min(max(min(ends), 0), room), min(max(max(ends), 0), room) + 1


def _lines(low: int, high: int, size: int, step: int, length: int) -> NDArray[np.int64]:
    """Corners along one axis of ``length`` pixels, so that patches cover ``low`` to ``high``."""
    last = max(0, min(high, length) - size)
    first = min(low, last)
    count = 1 + -(-(last - first) // step)
    lines: NDArray[np.int64] = np.rint(np.linspace(first, last, count)).astype(np.int64)
    return lines


def _draw(key: str, n: int) -> int:
    """A number from 0 to n - 1 that ``key`` alone decides."""
    return n * _hash64(key) >> 64


def _hash64(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
