"""Islands: lobules of fat within gland, and patches of gland that lie apart in fat.

Fat lobules have axes of 20 to 30 mm (VICTRE, `Constants.py`). Patches of gland are the asymmetries
of normal breasts: as large as lesions, soft and uneven. Numbers and sizes are ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from dbtssl.phantom.findings.inclusions import Frame, Stamp, ellipsoid, soft, window
from dbtssl.phantom.findings.placing import cast, rotation, seed, within
from dbtssl.phantom.model.noise import lookup
from dbtssl.phantom.model.subject import Inclusion

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray
    from torch import Tensor

FAT, GLAND = 0.046, 0.080  # 1/mm at 20 keV
FAT_NUMBER, FAT_RADIUS = 5.0, (9.0, 0.35, 4.0, 17.0)  # mean; mm: median, log sd, limits
GLAND_NUMBER, GLAND_RADIUS = 2.6, (8.0, 0.55, 3.0, 26.0)
SHAPE = (0.45, 0.9)  # range of the shorter half axes over the longest
ROUGHNESS = {"fat-island": 0.12, "gland-island": 0.30}  # of the radius
STRENGTH = {"fat-island": (0.5, 0.95), "gland-island": (0.45, 1.0)}  # range
MIXED, UNEVEN = 0.8, 1.3  # log odds of gland in a patch, and their spread
GRAIN = 7.0  # mm of the lobule field for a radius
TISSUE = 0.62  # mm of the gland field per mm, as in the tissue around
SOFTNESS = {"fat-island": 1.5, "gland-island": 2.6}  # of the edge


def draw(rng: Generator) -> tuple[Inclusion, ...]:
    """Draw the islands of a breast."""
    fat = [
        Inclusion(
            "fat-island", within(rng, (0.2, 0.85), (0, 0.7)), cast(rng, *FAT_RADIUS), seed(rng)
        )
        for _ in range(int(rng.poisson(FAT_NUMBER)))
    ]
    gland = [
        Inclusion(
            "gland-island", within(rng, (0.15, 0.8), (0, 0.7)), cast(rng, *GLAND_RADIUS), seed(rng)
        )
        for _ in range(int(rng.poisson(GLAND_NUMBER)))
    ]
    return *fat, *gland


def stamps(
    island: Inclusion, centre: tuple[float, float, float], frame: Frame, tile: Tensor
) -> list[Stamp]:
    """An island at ``centre`` (u, v, z), its border as rough as ``tile`` makes it."""
    around = window(frame, centre, 1.25 * island.radius + 2)
    if around is None:
        return []
    rng = np.random.default_rng(island.seed)
    turn = rotation(rng)
    axes = island.radius * np.array([1.0, *rng.uniform(*SHAPE, 2)])
    inside = ellipsoid(around.place, axes.tolist(), turn)
    origin = rng.uniform(0, 1000, 3)
    bump = _grown(tile[1:], around.place, GRAIN / island.radius, origin)
    inside = inside + ROUGHNESS[island.kind] * island.radius * bump
    strength = float(rng.uniform(*STRENGTH[island.kind]))
    share = strength * soft(inside, frame.grid.pixel, SOFTNESS[island.kind])
    if island.kind == "fat-island":
        return [around.stamp(share, FAT)]
    grain = _grown(tile[:1], around.place, TISSUE, origin)
    grain = (grain - grain.mean()) / grain.std().clamp_min(1e-3)
    return [around.stamp(share * torch.sigmoid(MIXED + UNEVEN * grain), GLAND)]


def _grown(
    field: Tensor, place: tuple[Tensor, Tensor, Tensor], scale: float, origin: NDArray[np.float64]
) -> Tensor:
    """A field of the tile at ``scale`` times each place: looked up at every other pixel."""
    size = [max(lengths) for lengths in zip(*(x.shape for x in place), strict=True)]
    x, y, z = (
        (along * scale + o).expand(size)[:, ::2, ::2]
        for along, o in zip(place, origin.tolist(), strict=True)
    )
    return F.interpolate(lookup(field, x, y, z), size=size[1:], mode="bilinear")[0]
