"""Lymph nodes: kidneys of soft tissue with a notch of fat, within the breast and in the axilla.

Nodes within the breast are oval, lie mostly in its upper outer part and have a hilum of fat
(Bitencourt 2019, doi 10.1259/bjr.20190517). Their sizes and how many are shown are ours: most are below
10 mm long, and there are more than radiologists report.
An axillary node is anchored in the MLO view alone: (share of the length, mm below the image's upper
edge, height in half thicknesses); no other view reaches there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbtssl.phantom.findings.inclusions import Frame, Stamp, ellipsoid, soft, window
from dbtssl.phantom.findings.placing import cast, rotation, seed, within
from dbtssl.phantom.model.subject import Inclusion

if TYPE_CHECKING:
    from numpy.random import Generator

NODE = 0.079  # 1/mm at 20 keV: soft tissue
HILUM = 0.050  # fat, and the vessels in it
NUMBER = 0.7  # mean within a breast
RADIUS = (3.0, 0.35, 1.6, 7.0)  # mm: median and log sd of the half length, limits
AXILLARY = (0.6, (4.0, 10.0))  # share of breasts whose MLO view shows some, and half length in mm
SHAPE = (0.62, 0.85)  # range of the shorter half axes over the longest
NOTCH = (0.35, 0.75)  # half length of the hilum over the node's; and how far from its middle


def draw(rng: Generator, up: int) -> tuple[Inclusion, ...]:
    """Draw the nodes of a breast; ``up`` is the sign of q towards the head."""
    found = []
    for _ in range(int(rng.poisson(NUMBER))):
        at = within(rng, (0.12, 0.7), (0.25, 0.8), outer=True, up=up)
        found.append(Inclusion("lymph-node", at, cast(rng, *RADIUS), seed(rng)))
    share, size = AXILLARY
    for _ in range(int(rng.integers(1, 4)) if rng.random() < share else 0):
        at = (
            float(rng.uniform(0.05, 0.42)),
            float(rng.uniform(4, 45)),
            float(rng.uniform(-0.6, 0.6)),
        )
        found.append(Inclusion("axillary-node", at, float(rng.uniform(*size)), seed(rng)))
    return tuple(found)


def stamps(node: Inclusion, centre: tuple[float, float, float], frame: Frame) -> list[Stamp]:
    """A node at ``centre`` (u, v, z): its cortex, then the fat in its notch."""
    around = window(frame, centre, 1.2 * node.radius + 1.5)
    if around is None:
        return []
    rng = np.random.default_rng(node.seed)
    turn = rotation(rng)
    axes = node.radius * np.array([1.0, *rng.uniform(*SHAPE, 2)])
    body = ellipsoid(around.place, axes.tolist(), turn)
    size, away = NOTCH
    hilum = ellipsoid(
        around.place, (size * axes * [1.3, 1, 1.2]).tolist(), turn, (0.0, away * axes[1], 0.0)
    )
    pixel = frame.grid.pixel
    share = soft(body, pixel)
    return [around.stamp(share, NODE), around.stamp(share * soft(hilum, pixel), HILUM)]
