"""Lesions: how large and how deep they are in BCS-DBT, what they look like, where they fit.

Sizes and depths are measured on the 224 published boxes of the BCS-DBT training set (side = square
root of width times height, 0.0997 mm a pixel). Masses are balls roughened by noise; spiculated ones
and distortions carry tapering random spicules (de Sisternes 2015, PMC4320152, makes them finer); a
distortion also draws the tissue in (`pull`). In the full anatomy, where oval masses with sharp
margins are harmless, those that are not spiculated are lobulated, margins may be indistinct, and a
distortion is hardly more than drawn-in tissue. Where no source is named, a constant is ours.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dbtssl.data.records import Box, Label
from dbtssl.phantom.config import FIELD_OF_VIEW
from dbtssl.phantom.noise import lookup
from dbtssl.phantom.subject import Kind, Lesion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator

    from dbtssl.phantom.compression import Compression
    from dbtssl.phantom.geometry import Grid

LEVELS = (0.0, 0.05, 0.25, 0.50, 0.75, 0.95, 1.0)
MASS_SIDE = (5.8, 7.7, 11.2, 17.7, 25.7, 47.7, 64.5)  # mm, quantiles over 147 boxes
DISTORTION_SIDE = (9.7, 13.8, 20.2, 25.6, 37.1, 53.2, 61.3)  # mm, over 77 boxes
RELATIVE_DEPTH = (0.03, 0.15, 0.30, 0.43, 0.53, 0.65, 0.81)  # slice / slices, over 224 boxes
DISTORTIONS = {Label.BENIGN: 0.38, Label.CANCER: 0.29, Label.ACTIONABLE: 0.0}  # share of the boxes
SPICULATED = {Label.BENIGN: 0.2, Label.CANCER: 0.8, Label.ACTIONABLE: 0.0}  # of the masses
ACTIONABLE_CONTRAST = 0.4

HALF_BOX: dict[Kind, float] = {  # radii
    "circumscribed": 1.2,
    "lobulated": 1.2,
    "spiculated": 1.6,
    "distortion": 2.4,
}
SPICULES: dict[Kind, tuple[int, int]] = {
    "circumscribed": (0, 1),
    "lobulated": (0, 1),
    "spiculated": (20, 40),
    "distortion": (22, 36),
}
ROUGHNESS: dict[Kind, float] = {
    "circumscribed": 0.08,
    "lobulated": 0.10,
    "spiculated": 0.20,
    "distortion": 0.20,
}
LOBES = (3, 6)  # range of their number
LOBE_AWAY, LOBE_RADIUS = (0.35, 0.65), (0.42, 0.62)  # ranges, in radii
BUMPS = 5.5  # mm of the lobule field across one radius
DISTORTION_CORE = 0.4  # a distortion has hardly a centre
PULL, PULL_RADIUS, PULL_LIMIT = 0.55, 1.5, 1.5
PULL_MOST = 2.2  # from e^(3/2) / 2 = 2.24 on tissue would fold over
FULL_PULL: dict[Kind, tuple[float, float]] = {
    "lobulated": (0.0, 0.0),
    "spiculated": (0.2, 0.7),
    "distortion": (1.3, 2.0),
}
FULL_CORE = 0.3  # of a distortion
FULL_SPICULES = (6, 15)  # range, of a distortion
FLAT_FROM, FLAT_SPAN = 5.0, 12.0  # mm: larger masses give way to the paddle
MARGIN = (0.8, 2.2)  # range of the softness of a mass's edge in the full anatomy
REACH = 3.2  # radii beyond which a lesion changes nothing
EDGE = (0.5, 0.45)  # softness of the edge in mm; and per mm of pixel
SPICULE_SHARE = 0.9  # of the contrast
SPICULE_REACH = (0.75, 1.0)  # range, in half boxes
SPICULE_WIDTH = (0.10, 0.2)  # share of the radius, and mm
SPICULE_SPREAD = (0.6, 1.2)  # range of a factor of the width
SPICULE_TIP, SPICULE_BLUR = 0.4, 0.25  # share of the width at the tip; mm per mm of pixel

LATERAL, FORWARD = 0.75, (0.2, 0.8)  # where centres are tried, in units of the breast
SKIN_GAP = 2.0  # mm
SCALE_LIMIT = 1.08  # no slice is drawn larger than this
TRIES = 60
SHRINK = 0.9


def draw(
    label: Label,
    contrast: tuple[float, float],
    views: Sequence[Compression],
    rng: Generator,
    *,
    full: bool = False,
) -> Lesion:
    """Draw a lesion that fits into every one of ``views`` of its breast; the first sets its depth.

    ``full`` is for the full anatomy. A lesion that finds no room in `TRIES` places shrinks by a tenth and tries again.
    """
    kind = _kind(label, rng)
    sides = DISTORTION_SIDE if kind == "distortion" else MASS_SIDE
    side = float(np.interp(rng.random(), LEVELS, sides))
    radius = side / (2 * HALF_BOX[kind])
    strength = ACTIONABLE_CONTRAST if label is Label.ACTIONABLE else float(rng.uniform(*contrast))
    spicules = int(rng.integers(*SPICULES[kind]))
    seed = int(rng.integers(1 << 31))
    first = views[0]
    depth = float(np.interp(rng.random(), LEVELS, RELATIVE_DEPTH))
    while True:
        room = max(1 - (radius + 2 * SKIN_GAP) / (first.thickness / 2), 0.0)
        zeta = (depth - 0.5) * 2 * first.mid / (first.thickness / 2)
        zeta = min(max(zeta, -room), room)
        for _ in range(TRIES):
            at = first.anchor(
                float(rng.uniform(*FORWARD)), float(rng.uniform(-LATERAL, LATERAL)), zeta
            )
            if all(_fits(at, radius, HALF_BOX[kind] * radius, view) for view in views):
                lesion = Lesion(kind, at, radius, strength, spicules, seed)
                return _of_full(lesion, rng) if full else _of_plain(lesion)
        radius *= SHRINK


def _of_plain(lesion: Lesion) -> Lesion:
    if lesion.kind == "distortion":
        return replace(lesion, drag=PULL, core=DISTORTION_CORE)
    return lesion


def _of_full(lesion: Lesion, rng: Generator) -> Lesion:
    kind: Kind = "lobulated" if lesion.kind == "circumscribed" else lesion.kind
    drag, margin = float(rng.uniform(*FULL_PULL[kind])), float(rng.uniform(*MARGIN))
    flat = 1 + max(lesion.radius - FLAT_FROM, 0) / FLAT_SPAN
    lesion = replace(lesion, kind=kind, drag=drag, margin=margin, flat=flat)
    if kind != "distortion":
        return lesion
    return replace(lesion, core=FULL_CORE, spicules=int(rng.integers(*FULL_SPICULES)))


def box(lesion: Lesion, label: Label, shape: Compression, grid: Grid, left: bool) -> Box:
    """The lesion's box in whole pixels on the slice of its centre, in the oriented frame."""
    half = HALF_BOX[lesion.kind] * lesion.radius
    distortion = lesion.kind == "distortion"
    return box_at(shape.place(lesion.at), half, label, grid, left=left, distortion=distortion)


def box_at(
    centre: tuple[float, float, float],
    half: float,
    label: Label,
    grid: Grid,
    *,
    left: bool,
    distortion: bool,
) -> Box:
    """A box of ``half`` mm on each side of ``centre`` (u, v, z), in the oriented frame."""
    u, v, z = centre
    x, y = grid.pixel_at(u, v, z)
    half = half * grid.scale(z) / grid.pixel
    if not left:
        x = grid.columns - x
    x0, y0 = round(x - half), round(y - half)
    x1, y1 = max(round(x + half), x0 + 1), max(round(y + half), y0 + 1)
    slice_ = min(int(z / grid.spacing), grid.n_slices - 1)
    return Box(slice_, x0, y0, x1 - x0, y1 - y0, label, distortion)


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
    edge = EDGE[0] + EDGE[1] * pixel
    if lesion.kind == "lobulated":
        edge = edge * lesion.margin
        inside = _lobes(radius, place, rng)
        core = torch.sigmoid((inside + ROUGHNESS[lesion.kind] * bump) * radius / edge)
    else:
        edge = edge * lesion.margin
        core = torch.sigmoid((1 - r / radius + ROUGHNESS[lesion.kind] * bump) * radius / edge)
    core = core * lesion.core
    if lesion.spicules:
        core = torch.maximum(core, SPICULE_SHARE * _spicules(lesion, place, r2, pixel, rng))
    return core.view(du.shape)


def pull(lesion: Lesion, r2: Tensor) -> Tensor:
    """Share of the offset by which tissue is drawn in, at squared distance ``r2`` (mm^2)."""
    strength = min(lesion.drag * min(lesion.contrast, PULL_LIMIT), PULL_MOST)
    return strength * torch.exp(-r2 / (PULL_RADIUS * lesion.radius) ** 2)


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
    directions = rng.normal(size=(lesion.spicules, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    reach = lesion.radius * HALF_BOX[lesion.kind] * rng.uniform(*SPICULE_REACH, lesion.spicules)
    share, least = SPICULE_WIDTH
    width = rng.uniform(*SPICULE_SPREAD, lesion.spicules) * (share * lesion.radius + least)
    along = torch.tensor(directions, dtype=place.dtype) @ place  # K x M
    taper = (1 - along / torch.tensor(reach, dtype=place.dtype)[:, None]).clamp(0, 1)
    w = torch.tensor(width, dtype=place.dtype)[:, None] * (SPICULE_TIP + taper)
    w = w + SPICULE_BLUR * pixel
    across = (r2 - along.square()).clamp_min(0)
    return (torch.exp(-across / w.square()) * taper.sqrt() * (along > 0)).amax(0)


def _kind(label: Label, rng: Generator) -> Kind:
    distortion, spiculated = rng.random(2)
    if distortion < DISTORTIONS[label]:
        return "distortion"
    return "spiculated" if spiculated < SPICULATED[label] else "circumscribed"


def _fits(at: tuple[float, float, float], radius: float, half: float, view: Compression) -> bool:
    """Whether the ball lies below the skin and off the muscle, and its box inside the image."""
    if at[1] ** 2 + at[2] ** 2 > 1:
        return False
    u, v, z = view.place(at)
    if u < half or abs(SCALE_LIMIT * v - view.centre) > FIELD_OF_VIEW / 2 - SCALE_LIMIT * half:
        return False
    if view.muscle and view.muscle_depth(u - radius, v) > 0:
        return False
    sides = ((radius, 0, 0), (0, radius, 0), (0, -radius, 0), (0, 0, radius), (0, 0, -radius))
    return all(view.depth(u + a, v + b, z + c) > SKIN_GAP for a, b, c in sides)
