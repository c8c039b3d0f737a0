"""The fixed patches of every slice as a map-style dataset: item i is the stack of patches of slice i."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from dbtssl.data.records import Rect, SliceRef
from dbtssl.inference.patches import PatchRule, fixed_corners, places

if TYPE_CHECKING:
    from dbtssl.data.store import Slices


class FixedPatches(Dataset[NDArray[np.float32]]):
    """``count`` patches of every slice of ``slices``, at the places of `fixed_corners`; the labels play no part.

    ``refs`` lists the slices volume by volume and ``corners`` is ``(len(refs), count, 2)``; both are made once, here,
    so that loader workers share them. Item i is ``(count, 1, S, S)`` in [0, 1].
    """

    def __init__(self, slices: Slices, rule: PatchRule, *, count: int, seed: int) -> None:
        self.slices, self.rule, self.count = slices, rule, count
        self.refs: list[SliceRef] = []
        corners = [np.zeros((0, count, 2), dtype=np.int32)]
        for index, volume in enumerate(slices.cohort):
            where = places(rule, slices.tissue(index))
            for z in range(volume.n_slices):
                self.refs.append(SliceRef(index, z))
                corners.append(fixed_corners(where, volume.id, z, count, seed)[None])
        self.corners = np.concatenate(corners)

    def __len__(self) -> int:
        return len(self.refs)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        return read_patches(self.slices, self.refs[index], self.corners[index], self.rule)


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
