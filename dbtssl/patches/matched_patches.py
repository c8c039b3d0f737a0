"""Normal patches that lie where lesions do: else a network learns the place, and not the lesion.

Abnormal training patches contain a box (SIFT-DBT, section 2.3), and lesions lie well within the breast; normal ones
that follow the tissue rule alone are often at its rim, or in the first and last slices. What tells the two apart in
training is of no use at test, where patches are placed blindly. Here a normal patch contains the box that a lesion of
another training volume would have, in its slice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dbtssl.data.records import Rect, SliceRef
from dbtssl.errors import DataError
from dbtssl.patches.patch_rule import lesion_corner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dbtssl.data.prepared.prepared_dataset import Slices
    from dbtssl.data.records import Box, Volume


class _Place(NamedTuple):
    """A box and the middle of it: share of the breast's height, of its width from the chest wall, and of the stack."""

    volume: int
    box: Box
    down: float
    out: float
    deep: float


class MatchedPlaces:
    """Normal patches after the boxes of all volumes of ``slices``; `DataError` where there is none."""

    def __init__(self, slices: Slices, abnormal: Sequence[NDArray[np.bool_]]) -> None:
        self.slices, self.abnormal = slices, abnormal
        self._breasts: dict[int, Rect] = {}
        self._places: dict[str, list[_Place]] = {}
        for i, volume in enumerate(slices.cohort):
            for box in volume.boxes:
                place = _relative(i, box, volume, self._breast(i))
                self._places.setdefault(volume.projection, []).append(place)
        if not self._places:
            raise DataError(
                "no training volume has a box, after which normal patches could be placed",
                hint="set matched to 0, or use data with boxes",
            )

    def draw(self, i: int, size: int, rng: np.random.Generator) -> tuple[SliceRef, tuple[int, int]]:
        """A slice of volume ``i`` and the corner ``(y, x)`` of a patch of ``size`` pixels in it.

        A box of another volume is drawn, of the same projection where there is one, and put at the same place of this
        breast, in shares of its extent; the patch contains it as an abnormal one does (`lesion_corner`). Where that
        slice is an abnormal one, the nearest normal slice is taken; every volume that is drawn from has one.
        """
        volume = self.slices.cohort[i]
        every = self._candidates(i)
        place = every[int(rng.integers(len(every)))]
        breast = self._breast(i)
        normal = np.flatnonzero(~self.abnormal[i])
        z = int(normal[np.abs(normal - int(place.deep * volume.n_slices)).argmin()])
        x = breast.x0 + _from_left(place.out, volume) * (breast.x1 - breast.x0)
        y = breast.y0 + place.down * (breast.y1 - breast.y0)
        box = place.box
        moved = replace(box, z=z, x=x - box.width / 2, y=y - box.height / 2)
        return SliceRef(i, z), lesion_corner(size, (moved,), z, (volume.rows, volume.columns), rng)

    def _candidates(self, i: int) -> Sequence[_Place]:
        """Places of the volume's projection, else of any; its own alone where no other volume has one.

        Next to its own lesion a normal slice still shows it, smeared.
        """
        everywhere = [place for found in self._places.values() for place in found]
        alike = self._places.get(self.slices.cohort[i].projection, ())
        for places in (alike, everywhere):
            others = [place for place in places if place.volume != i]
            if others:
                return others
        return everywhere

    def _breast(self, volume: int) -> Rect:
        """The bounds of a volume's tissue; of the whole slice where it has none."""
        if volume not in self._breasts:
            tissue = self.slices.tissue(volume)
            whole = Rect(0, 0, *tissue.shape)
            self._breasts[volume] = Rect.around(tissue) if tissue.any() else whole
        return self._breasts[volume]


def _relative(i: int, box: Box, volume: Volume, breast: Rect) -> _Place:
    down = (box.y + box.height / 2 - breast.y0) / (breast.y1 - breast.y0)
    right = (box.x + box.width / 2 - breast.x0) / (breast.x1 - breast.x0)
    return _Place(i, box, down, _from_left(right, volume), (box.z + 0.5) / volume.n_slices)


def _from_left(share: float, volume: Volume) -> float:
    """Share from the left edge to share from the chest wall and back; a left breast has its chest wall on the left."""
    return share if volume.side == "l" else 1 - share
