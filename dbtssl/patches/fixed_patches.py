"""The patches that score every slice as map-style datasets: item i is the stack of patches of slice i."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from dbtssl.data.records import Rect, SliceRef
from dbtssl.patches.patch_rule import PatchRule, fixed_corners, grid_corners, oracle_corners, places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtssl.data.prepared.prepared_dataset import Slices


class Patches(Protocol):
    """Slices in order, volume by volume; the patches of slice i are ``offsets[i]`` to ``offsets[i + 1]`` of all."""

    rule: PatchRule
    refs: list[SliceRef]

    @property
    def offsets(self) -> NDArray[np.int64]:
        """``(slices + 1,)``."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """``(patches, 1, S, S)`` in [0, 1]."""
        ...

    def places(self) -> NDArray[np.int32]:
        """Top-left corners ``(y, x)`` of all patches, ``(offsets[-1], 2)``."""
        ...


class FixedPatches(Dataset[NDArray[np.float32]]):
    """``count`` patches of every slice of ``slices``, at the places of `fixed_corners`; the labels play no part.

    Unless ``oracle`` is given, for each volume which of its slices are abnormal: these then have the places of
    `oracle_corners`. ``refs`` lists the slices volume by volume and ``corners`` is ``(len(refs), count, 2)``; both are
    made once, here, so that loader workers share them. Item i is ``(count, 1, S, S)`` in [0, 1]. ``every`` is as in
    `slices_scored`.
    """

    def __init__(
        self,
        slices: Slices,
        rule: PatchRule,
        *,
        count: int,
        seed: int,
        every: int = 1,
        oracle: Sequence[NDArray[np.bool_]] | None = None,
    ) -> None:
        self.slices, self.rule, self.count = slices, rule, count
        self.refs: list[SliceRef] = []
        corners = [np.zeros((0, count, 2), dtype=np.int32)]
        for index, volume in enumerate(slices.cohort):
            where = places(rule, slices.tissue(index))
            shape = volume.rows, volume.columns
            for z in slices_scored(volume.n_slices, every):
                self.refs.append(SliceRef(index, z))
                if oracle is not None and oracle[index][z]:
                    of_slice = oracle_corners(
                        rule.size, volume.boxes, volume.id, z, shape, count, seed
                    )
                else:
                    of_slice = fixed_corners(where, volume.id, z, count, seed)
                corners.append(of_slice[None])
        self.corners = np.concatenate(corners)

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Equal steps of ``count``."""
        return np.arange(len(self) + 1, dtype=np.int64) * self.count

    def places(self) -> NDArray[np.int32]:
        """All corners in order."""
        return self.corners.reshape(-1, 2)

    def __len__(self) -> int:
        return len(self.refs)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        return read_patches(self.slices, self.refs[index], self.corners[index], self.rule)


class GridPatches(Dataset[NDArray[np.float32]]):
    """The lattice of `grid_corners` on every slice of ``slices``: the same for all slices of a volume.

    Nothing is drawn, so a score has no noise of sampling. Volumes differ in their number of patches. ``every`` is as in
    `slices_scored`.
    """

    def __init__(self, slices: Slices, rule: PatchRule, *, overlap: float, every: int = 1) -> None:
        self.slices, self.rule = slices, rule
        self.corners = [
            grid_corners(rule.size, slices.tissue(i), overlap) for i in range(len(slices.cohort))
        ]
        self.refs = [
            SliceRef(i, z)
            for i, volume in enumerate(slices.cohort)
            for z in slices_scored(volume.n_slices, every)
        ]
        sizes = [len(self.corners[ref.volume]) for ref in self.refs]
        self.offsets = np.cumsum([0, *sizes], dtype=np.int64)

    def places(self) -> NDArray[np.int32]:
        """All corners in order."""
        empty = np.zeros((0, 2), dtype=np.int32)
        return np.concatenate([empty, *(self.corners[ref.volume] for ref in self.refs)])

    def __len__(self) -> int:
        return len(self.refs)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        ref = self.refs[index]
        return read_patches(self.slices, ref, self.corners[ref.volume], self.rule)


def slices_scored(n_slices: int, every: int) -> range:
    """Every ``every``-th slice of a volume, at least one, from the middle of the first so many on; no label is read."""
    return range(min(every // 2, (n_slices - 1) // 2), n_slices, every)


def read_patches(
    slices: Slices, ref: SliceRef, corners: NDArray[np.int32], rule: PatchRule
) -> NDArray[np.float32]:
    """The patches of one slice at ``corners``, shape ``(len(corners), 1, S, S)``.

    Few patches are read one by one; where together they have as many pixels as the rectangle around them, that is read
    once and they are cut from it.
    """
    (y0, x0), (y1, x1) = corners.min(axis=0), corners.max(axis=0) + rule.size
    out = np.empty((len(corners), 1, rule.size, rule.size), dtype=np.float32)
    around = (y1 - y0) * (x1 - x0)
    if len(corners) * rule.size**2 < around:
        for patch, (y, x) in zip(out, corners.tolist(), strict=True):
            patch[0] = slices.read(ref, rule.rect(y, x))
        return out
    pixels = slices.read(ref, Rect(int(y0), int(x0), int(y1), int(x1)))
    for patch, (y, x) in zip(out, (corners - (y0, x0)).tolist(), strict=True):
        patch[0] = pixels[y : y + rule.size, x : x + rule.size]
    return out
