"""Cysts: round or oval, with a sharp wall, alone or in groups, some in a halo of fat.

Water attenuates like gland (0.081 /mm at 20 keV, NIST). Cysts and other oval circumscribed masses
are what radiologists leave alone, so they are no lesions here. In ACRIN 6666 ultrasound found cysts in
37.5 % of women at raised risk (Berg 2010, "Cystic breast masses and the ACRIN 6666 experience");
numbers and sizes here are ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbtssl.phantom.findings.inclusions import Frame, Stamp, ellipsoid, soft, window
from dbtssl.phantom.findings.placing import cast, rotation, seed, within
from dbtssl.phantom.model.subject import Inclusion

if TYPE_CHECKING:
    from numpy.random import Generator

WATER, FAT = 0.081, 0.045  # 1/mm at 20 keV
NUMBER = (0.5, 4.0)  # mean: in fat, and more per unit of density
RADIUS = (3.8, 0.6, 1.5, 18.0)  # mm: median, log sd, limits
SHAPE = (0.6, 1.0)  # range of the shorter half axes over the longest
HALO = (0.5, 1.3, 0.45)  # share that has one, its width in mm, its strength


def draw(rng: Generator, density: float) -> tuple[Inclusion, ...]:
    """Draw the cysts of a breast whose share of gland is ``density``."""
    few, more = NUMBER
    return tuple(
        Inclusion("cyst", within(rng, (0.15, 0.8), (0, 0.7)), cast(rng, *RADIUS), seed(rng))
        for _ in range(int(rng.poisson(few + more * density)))
    )


def stamps(cyst: Inclusion, centre: tuple[float, float, float], frame: Frame) -> list[Stamp]:
    """A cyst at ``centre`` (u, v, z) and its halo."""
    around = window(frame, centre, cyst.radius + 3.0)
    if around is None:
        return []
    rng = np.random.default_rng(cyst.seed)
    turn = rotation(rng)
    axes = cyst.radius * np.array([1.0, *rng.uniform(*SHAPE, 2)])
    inside = ellipsoid(around.place, axes.tolist(), turn)
    body = around.stamp(soft(inside, frame.grid.pixel, 0.7), WATER)
    share, width, strength = HALO
    if rng.random() >= share:
        return [body]
    return [around.stamp(strength * soft(inside + width, frame.grid.pixel), FAT), body]
