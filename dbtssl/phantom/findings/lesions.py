"""Lesions: how large and how deep they are in BCS-DBT, what they look like, where they fit.

Sizes and depths are measured on the 224 published boxes of the BCS-DBT training set (side = square
root of width times height, 0.0997 mm a pixel). `lesion_shapes` says what they are made of. In the
full anatomy, where oval masses with sharp margins are harmless, those that are not spiculated are
lobulated, margins may be indistinct, what is spiculated draws tissue in, and a distortion is hardly
more than that. Where no source is named, a constant is ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dbtssl.data.records import Box, Label
from dbtssl.phantom.model.phantom_config import FIELD_OF_VIEW
from dbtssl.phantom.model.subject import HALF_BOX, Kind, Lesion, Rays

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator

    from dbtssl.phantom.model.compression import Compression
    from dbtssl.phantom.model.geometry import Grid

LEVELS = (0.0, 0.05, 0.25, 0.50, 0.75, 0.95, 1.0)
MASS_SIDE = (5.8, 7.7, 11.2, 17.7, 25.7, 47.7, 64.5)  # mm, quantiles over 147 boxes
DISTORTION_SIDE = (9.7, 13.8, 20.2, 25.6, 37.1, 53.2, 61.3)  # mm, over 77 boxes
RELATIVE_DEPTH = (0.03, 0.15, 0.30, 0.43, 0.53, 0.65, 0.81)  # slice / slices, over 224 boxes
DISTORTIONS = {Label.BENIGN: 0.38, Label.CANCER: 0.29, Label.ACTIONABLE: 0.0}  # share of the boxes
SPICULATED = {Label.BENIGN: 0.2, Label.CANCER: 0.8, Label.ACTIONABLE: 0.0}  # of the masses
ACTIONABLE_CONTRAST = 0.4

SPICULES: dict[Kind, tuple[int, int]] = {
    "circumscribed": (0, 1),
    "lobulated": (0, 1),
    "spiculated": (20, 40),
    "distortion": (22, 36),
}
DISTORTION_CORE = 0.4  # a distortion has hardly a centre
PULL = 0.55
FULL_PULL: dict[Kind, tuple[float, float]] = {
    "lobulated": (0.0, 0.0),
    "spiculated": (0.6, 1.5),
    "distortion": (1.4, 2.2),
}
FULL_GRIP: dict[Kind, float] = {"lobulated": 1.5, "spiculated": 2.4, "distortion": 1.9}  # radii
GRIP_BEYOND = 2.0  # mm
FULL_CORE = 0.3  # of a distortion
FULL_SPICULES: dict[Kind, tuple[int, int]] = {"spiculated": (18, 44), "distortion": (9, 24)}
FLAT_FROM, FLAT_SPAN = 5.0, 12.0  # mm: larger masses give way to the paddle
MARGIN = (0.4, 1.1)  # range of the softness of a mass's edge in the full anatomy
# spicules of the full anatomy run on into the tissue, and are about as wide as ligaments: thinner ones
# are lost in a reconstruction with pixels of a millimetre
FULL_RAYS = Rays(reach=(1.0, 1.6), beyond=3.0, share=0.06, least=0.6)
FULL_STRENGTH = (0.6, 1.0)  # range, of the contrast

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
    grip = FULL_GRIP[kind] + GRIP_BEYOND / lesion.radius
    rays = replace(FULL_RAYS, strength=float(rng.uniform(*FULL_STRENGTH)))
    lesion = replace(lesion, kind=kind, drag=drag, margin=margin, flat=flat, grip=grip, rays=rays)
    if kind == "lobulated":
        return lesion
    core = FULL_CORE if kind == "distortion" else 1.0
    return replace(lesion, core=core, spicules=int(rng.integers(*FULL_SPICULES[kind])))


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
