"""The patches that monitors look at: the same in every epoch, run and method.

Two sets. *Spread* patches lie anywhere in the tissue of a few slices of every volume; their mean is the volume's
embedding. *Labelled* patches are lesions, and places in normal volumes where a lesion could as well have been: a lesion
fills much of one patch and next to nothing of a volume, so that labels are asked of patches.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from dbtssl.data.records import Label, SliceRef
from dbtssl.patches.patch_rule import fixed_corners, lesion_corners, places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtssl.data.prepared.prepared_dataset import Slices
    from dbtssl.data.records import Box, Cohort, Rect, Volume
    from dbtssl.patches.patch_rule import PatchRule

# tissue patches of a normal slice, of which the one most like a lesion's place is taken
CANDIDATES = 512


class Place(NamedTuple):
    """Where a patch lies: its slice and its top-left corner."""

    ref: SliceRef
    y: int
    x: int


@dataclass(frozen=True)
class PlacedPatches(Dataset[NDArray[np.float32]]):
    """Patches at ``places``; item i is ``(1, S, S)`` in [0, 1]."""

    slices: Slices
    rule: PatchRule
    places: Sequence[Place]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        place = self.places[index]
        return self.slices.read(place.ref, self.rule.rect(place.y, place.x))[None]

    @property
    def volumes(self) -> NDArray[np.int64]:
        """Position of each patch's volume in the cohort, ``(len(self),)``."""
        return np.array([place.ref.volume for place in self.places], dtype=np.int64)

    def volume_means(self, z: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Volumes in the cohort, ascending ``(V,)``, and the mean of each one's features ``z``, ``(V, D)``."""
        volumes, of = np.unique(self.volumes, return_inverse=True)
        return volumes, np.stack([z[of == i].mean(axis=0) for i in range(len(volumes))])


def chosen_volumes(cohort: Cohort, patients: int) -> list[int]:
    """Positions of the volumes of at most ``patients`` patients, who are drawn by hash.

    All with an abnormal volume are among them, or half of ``patients`` where there are more and normal ones enough.
    """
    sick = {v.patient for v in cohort if v.label.abnormal}
    well = {v.patient for v in cohort} - sick
    share = max(patients // 2, patients - len(well))
    kept = sorted(sick, key=_hash)[:share]
    kept += sorted(well, key=_hash)[: patients - len(kept)]
    return [i for i, v in enumerate(cohort) if v.patient in set(kept)]


def spread_patches(
    slices: Slices, rule: PatchRule, volumes: Sequence[int], n_slices: int, count: int
) -> PlacedPatches:
    """``count`` fixed tissue patches of each of ``n_slices`` evenly spaced slices of every volume."""
    out = []
    for index in volumes:
        volume = slices.cohort[index]
        where = places(rule, slices.tissue(index))
        depths = {(2 * i + 1) * volume.n_slices // (2 * n_slices) for i in range(n_slices)}
        for z in sorted(depths):
            corners = fixed_corners(where, volume.id, z, count, seed=0)
            out += [Place(SliceRef(index, z), int(y), int(x)) for y, x in corners]
    return PlacedPatches(slices, rule, out)


def labelled_patches(
    slices: Slices, rule: PatchRule, volumes: Sequence[int], count: int
) -> tuple[PlacedPatches, NDArray[np.bool_]]:
    """Patches of lesions and of normal volumes, and which are lesions, ``(n,)``.

    ``count`` patches contain each box of an abnormal volume, on its annotated slice. Each volume labelled normal gives
    ``count`` patches, each with enough tissue and as near as may be to where one of the lesions lies in its own breast
    (depth, height and distance from the chest wall as shares): else the place would tell the label. Volumes that are
    neither (recalled only, or abnormal without a box) are left out.
    """
    cohort = slices.cohort
    lesions = [
        Place(SliceRef(i, min(box.z, cohort[i].n_slices - 1)), y, x)
        for i in volumes
        if cohort[i].label.abnormal
        for n, box in enumerate(cohort[i].boxes)
        for y, x in _around(rule.size, box, cohort[i], n, count)
    ]
    targets = [_relative(cohort[p.ref.volume], p, rule.size) for p in lesions]
    normal: list[Place] = []
    for i in volumes if targets else ():
        volume = cohort[i]
        if volume.label == Label.NORMAL:
            where = places(rule, slices.tissue(i))
            for k in range(count):
                target = targets[_hash(f"{volume.id}/{k}") % len(targets)]
                z = round(target[0] * (volume.n_slices - 1))
                corners = fixed_corners(where, volume.id, z, CANDIDATES, seed=k)
                y, x = _nearest(corners, volume, target, rule.size)
                normal.append(Place(SliceRef(i, z), y, x))
    abnormal = np.arange(len(lesions) + len(normal)) < len(lesions)
    return PlacedPatches(slices, rule, [*lesions, *normal]), abnormal


def _around(size: int, box: Box, volume: Volume, number: int, count: int) -> list[tuple[int, int]]:
    """Corners of ``count`` patches that contain ``box``."""
    allowed: Rect = lesion_corners(size, box, (volume.rows, volume.columns))
    key = f"{volume.id}/{number}"
    return [
        (
            allowed.y0 + _hash(f"{key}/{k}/y") % (allowed.y1 - allowed.y0),
            allowed.x0 + _hash(f"{key}/{k}/x") % (allowed.x1 - allowed.x0),
        )
        for k in range(count)
    ]


def _relative(volume: Volume, place: Place, size: int) -> tuple[float, float, float]:
    """Depth, height and distance from the chest wall of a patch's centre, as shares of stack and tissue box."""
    y0, x0, height, width = _tissue_box(volume)
    y, x = (place.y + size / 2 - y0) / height, (place.x + size / 2 - x0) / width
    return place.ref.z / max(1, volume.n_slices - 1), y, 1 - x if volume.side == "r" else x


def _nearest(
    corners: NDArray[np.int32], volume: Volume, target: tuple[float, float, float], size: int
) -> tuple[int, int]:
    """The corner whose patch has its centre nearest to ``target``, in pixels."""
    y0, x0, height, width = _tissue_box(volume)
    _, down, out = target
    across = 1 - out if volume.side == "r" else out
    centre = np.array([y0 + down * height, x0 + across * width])
    y, x = corners[np.square(corners + size / 2 - centre).sum(axis=1).argmin()]
    return int(y), int(x)


def _tissue_box(volume: Volume) -> tuple[int, int, int, int]:
    """Top, left, height and width of the tissue; of the whole slice where there is none."""
    y0, x0, y1, x1 = volume.crop
    if y1 <= y0 or x1 <= x0:
        return 0, 0, volume.rows, volume.columns
    return y0, x0, y1 - y0, x1 - x0


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
