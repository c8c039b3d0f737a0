"""What a lesion is made of: a roughened ball or lobes, spicules, and the tissue that it draws in.

Masses are balls or lobes roughened by noise; spiculated ones and distortions carry tapering random
spicules (de Sisternes 2015, PMC4320152, makes them finer). Where no source is named, a constant is ours.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from dbtssl.phantom.model.noise import lookup
from dbtssl.phantom.model.subject import HALF_BOX, Kind, Lesion

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

ROUGHNESS: dict[Kind, float] = {
    "circumscribed": 0.08,
    "lobulated": 0.10,
    "spiculated": 0.20,
    "distortion": 0.20,
}
LOBES = (3, 6)  # range of their number
LOBE_AWAY, LOBE_RADIUS = (0.4, 0.65), (0.42, 0.58)  # ranges, in radii
BUMPS = 5.5  # mm of the lobule field across one radius
PULL_LIMIT = 1.5
PULL_MOST = 2.2  # from e^(3/2) / 2 = 2.24 on tissue would fold over
REACH = 3.2  # radii beyond which a lesion changes nothing, or where its longest spicule ends
EDGE = (0.5, 0.45)  # softness of the edge in mm; and per mm of pixel
SPICULE_SPREAD = (0.6, 1.2)  # range of a factor of the width
SPICULE_TIP, SPICULE_BLUR = 0.4, 0.25  # share of the width at the tip; mm per mm of pixel


def reach(lesion: Lesion) -> float:
    """Distance from its centre, mm, beyond which `presence` is next to 0."""
    spicules = HALF_BOX[lesion.kind] * lesion.rays.reach[1] * lesion.radius + lesion.rays.beyond
    return max(REACH * lesion.radius, spicules if lesion.spicules else 0.0)


def presence(
    lesion: Lesion, turn: float, tile: Tensor, pixel: float, offset: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """How much of each point is lesion, 0 to 1, shape ``(rows, columns)``.

    ``offset`` is ``(du, dv, dz)`` in mm from the centre: a row, a column, and a scalar. The lesion
    turns with the breast, so both views show the same shape.
    """
    du, dv, dz = (x.expand(len(offset[1]), offset[0].shape[1]) for x in offset)
    if lesion.flat != 1:
        dz = dz * lesion.flat
    c, s = math.cos(turn), math.sin(turn)
    place = torch.stack((du, c * dv - s * dz, s * dv + c * dz)).flatten(1)  # 3 x M, breast axes
    r2 = place.square().sum(0)
    r, radius = r2.sqrt(), lesion.radius
    rng = np.random.default_rng(lesion.seed)
    origin = torch.tensor(rng.uniform(0, 1000, 3), dtype=place.dtype)[:, None]
    bump = lookup(tile[1:], *(place * (BUMPS / radius) + origin))[0]
    edge = (EDGE[0] + EDGE[1] * pixel) * lesion.margin
    inside = _lobes(radius, place, rng) if lesion.kind == "lobulated" else 1 - r / radius
    core = torch.sigmoid((inside + ROUGHNESS[lesion.kind] * bump) * radius / edge) * lesion.core
    if lesion.spicules:
        core = torch.maximum(core, lesion.rays.strength * _spicules(lesion, place, r2, pixel, rng))
    return core.view(du.shape)


def pull(lesion: Lesion, r2: Tensor) -> Tensor:
    """Share of the offset by which tissue is drawn in, at squared distance ``r2`` (mm^2)."""
    strength = min(lesion.drag * min(lesion.contrast, PULL_LIMIT), PULL_MOST)
    return strength * torch.exp(-r2 / (lesion.grip * lesion.radius) ** 2)


def _lobes(radius: float, place: Tensor, rng: Generator) -> Tensor:
    """How far inside a union of balls each place is, in radii of the lesion: ``(M,)``."""
    n = int(rng.integers(*LOBES))
    away = rng.normal(size=(n, 3))
    away *= rng.uniform(*LOBE_AWAY, (n, 1)) / np.linalg.norm(away, axis=1, keepdims=True)
    size = rng.uniform(*LOBE_RADIUS, n)
    centres = torch.tensor(away * radius, dtype=place.dtype)
    distance = torch.cdist(centres, place.T) / radius  # lobes x M
    return (torch.tensor(size, dtype=place.dtype)[:, None] - distance).amax(0)


def _spicules(lesion: Lesion, place: Tensor, r2: Tensor, pixel: float, rng: Generator) -> Tensor:
    """How much of each place is spicule: cones from the centre that taper to a tip, ``(M,)``."""
    directions = rng.normal(size=(lesion.spicules, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rays = lesion.rays
    length = lesion.radius * HALF_BOX[lesion.kind] * rng.uniform(*rays.reach, lesion.spicules)
    length += rays.beyond
    thick = rays.share * lesion.radius + rays.least
    width = rng.uniform(*SPICULE_SPREAD, lesion.spicules) * thick
    along = torch.tensor(directions, dtype=place.dtype) @ place  # K x M
    taper = (1 - along / torch.tensor(length, dtype=place.dtype)[:, None]).clamp(0, 1)
    w = torch.tensor(width, dtype=place.dtype)[:, None] * (SPICULE_TIP + taper)
    w = w + SPICULE_BLUR * pixel
    across = (r2 - along.square()).clamp_min(0)
    return (torch.exp(-across / w.square()) * taper.sqrt() * (along > 0)).amax(0)
