"""On the skin: moles, and the rings of wire that technologists put round them.

Seen on real slices of BCS-DBT: rings 6 to 12 mm across. Numbers are ours.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from dbtssl.phantom.findings.inclusions import Chain, Frame, Stamp, ellipsoid, soft, thread, window
from dbtssl.phantom.findings.placing import seed
from dbtssl.phantom.model.subject import Inclusion

if TYPE_CHECKING:
    from numpy.random import Generator

SKIN, WIRE = 0.085, 0.5  # 1/mm at 20 keV: skin; wire, thin enough not to blind the detector (ours)
MOLES = 0.35  # mean number
MOLE = (1.8, 4.5)  # mm, range of the radius
HEIGHT = (0.7, 1.5)  # mm, half the height of a mole
RINGED, LONE = 0.25, 0.03  # share of moles in a ring; share of breasts with a ring and no mole
RING = (3.2, 5.5)  # mm, range of the radius
OVAL = (0.7, 1.0)
THICKNESS = 0.3  # mm, radius of the wire


def draw(rng: Generator) -> tuple[Inclusion, ...]:
    """Draw what is on the skin of a breast."""
    found = []
    for _ in range(int(rng.poisson(MOLES))):
        at = _on_skin(rng)
        found.append(Inclusion("mole", at, float(rng.uniform(*MOLE)), seed(rng)))
        if rng.random() < RINGED:
            found.append(Inclusion("marker-ring", at, float(rng.uniform(*RING)), seed(rng)))
    if rng.random() < LONE:
        found.append(Inclusion("marker-ring", _on_skin(rng), float(rng.uniform(*RING)), seed(rng)))
    return tuple(found)


def stamps(mole: Inclusion, centre: tuple[float, float, float], frame: Frame) -> list[Stamp]:
    """A mole at ``centre`` (u, v, z): a flat lens of skin."""
    around = window(frame, centre, mole.radius + 2)
    if around is None:
        return []
    rng = np.random.default_rng(mole.seed)
    c, s = math.cos(frame.shape.turn), math.sin(frame.shape.turn)
    lying = [[1.0, 0.0, 0.0], [0.0, c, s], [0.0, -s, c]]  # breast axes back to the detector's
    height = max(float(rng.uniform(*HEIGHT)), 0.5 * frame.grid.spacing)
    axes = mole.radius, mole.radius * float(rng.uniform(*OVAL)), height
    inside = ellipsoid(around.place, axes, lying)
    return [around.stamp(0.8 * soft(inside, frame.grid.pixel, 0.6), SKIN)]


def wire(ring: Inclusion, centre: tuple[float, float, float]) -> Chain:
    """A marker ring at ``centre`` (u, v, z), flat under the paddle."""
    rng = np.random.default_rng(ring.seed)
    turn, oval = rng.uniform(0, math.pi), rng.uniform(*OVAL)
    n = max(int(2 * math.pi * ring.radius / 0.4), 8)
    t = torch.linspace(0, 2 * math.pi, n)
    a, b = ring.radius * t.cos(), ring.radius * oval * t.sin()
    c, s = math.cos(turn), math.sin(turn)
    u, v, z = centre
    places = torch.stack((u + c * a - s * b, v + s * a + c * b, torch.full((n,), z)), 1)
    return thread(places, torch.full((n,), THICKNESS))


def _on_skin(rng: Generator) -> tuple[float, float, float]:
    angle = rng.uniform(-math.pi, math.pi)
    return float(rng.uniform(0.15, 0.9)), math.cos(angle) * 0.99, math.sin(angle) * 0.99
