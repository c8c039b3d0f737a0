"""Where and how large: draws that all things in a breast have in common."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator

    from dbtssl.phantom.model.compression import Compression
    from dbtssl.phantom.model.subject import Inclusion

ON_SKIN = ("mole", "marker-ring")
EDGE = 0.85  # of the outline: marks beyond are moved in, where a paddle holds them flat


def upwards(left: bool) -> int:
    """The sign of q towards the head: an MLO view turns the breasts of the two sides apart."""
    return -1 if left else 1


def within(
    rng: Generator,
    along: tuple[float, float],
    across: tuple[float, float],
    *,
    outer: bool = False,
    up: int = 1,
) -> tuple[float, float, float]:
    """A point (s, p, q) at ``along`` in s and ``across`` from the axis, ranges.

    Uniform in area across; ``outer`` keeps it in the upper outer quarter.
    """
    s = float(rng.uniform(*along))
    low, high = across
    radius = math.sqrt(rng.uniform(low**2, high**2))
    angle = rng.uniform(0, math.pi / 2) if outer else rng.uniform(-math.pi, math.pi)
    return s, -radius * math.cos(angle), up * radius * math.sin(angle)


def cast(rng: Generator, median: float, log_sd: float, low: float, high: float) -> float:
    """A log-normal size within limits."""
    return float(np.clip(median * math.exp(log_sd * rng.normal()), low, high))


def seed(rng: Generator) -> int:
    """A seed for what is drawn later."""
    return int(rng.integers(1 << 31))


def rotation(rng: Generator) -> list[list[float]]:
    """Three directions at right angles, any way round."""
    return np.linalg.qr(rng.normal(size=(3, 3)))[0].tolist()  # type: ignore[no-any-return]


def centre(thing: Inclusion, shape: Compression) -> tuple[float, float, float] | None:
    """Where a thing lies in a view, (u, v, z) in mm; None where the view does not reach it."""
    if thing.kind == "axillary-node":
        share, down, height = thing.at
        if not shape.muscle:
            return None
        return share * shape.length, shape.top + down, shape.mid + height * shape.thickness / 2
    u, v, z = shape.place(thing.at)
    if thing.kind in ON_SKIN:
        u, v = shape.inwards(u, v, EDGE)
        half = shape.half_height(u, v)
        return u, v, shape.mid + math.copysign(half, z - shape.mid)
    return u, v, z
