"""Rays: lines that run from a centre into the tissue, each with its own direction, length, width and strength.

They taper towards a tip and are all bent the same way. Spicules are such lines (de Sisternes et al. 2015, PMC4320152,
grow them segment by segment); sectors, which widen outwards, are not.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from dbtssl_implants.objects import Objects

DIRECTIONS = 256  # in which the nearest ray is looked up
TIP = 0.4  # share of its width that a ray keeps at its end
BLUR = 0.25  # wider by this share of a pixel: thinner lines would break into beads


def ray_shapes(
    o: Objects, angle: torch.Tensor, distance: torch.Tensor, pixel: torch.Tensor
) -> torch.Tensor:
    """How much of each place is ray, ``(B, S, S)`` in [0, 1].

    ``angle`` and ``distance`` ``(B, S, S)``, radians and mm, are those of the places as seen from the centre, ``pixel``
    ``(B,)`` is the side of a pixel in mm. Each place belongs to the ray whose direction is nearest to its own.
    """
    size = distance.shape
    longest = (o.ray_length * (o.ray > 0)).amax(dim=1) * o.radius
    bent = angle - o.ray_bend[:, None, None] * distance / longest[:, None, None]
    bins = (bent.flatten(1) * (DIRECTIONS / (2.0 * math.pi))).floor().long() % DIRECTIONS
    mine = _nearest(o).gather(1, bins)  # B x S * S

    def of_mine(x: torch.Tensor) -> torch.Tensor:
        return x.gather(1, mine).view(size)

    off = _turned(bent - of_mine(o.ray_angle))
    along = distance * off.cos()
    taper = (1.0 - along / (of_mine(o.ray_length) * o.radius[:, None, None])).clamp(0.0, 1.0)
    width = of_mine(o.ray_width) * (TIP + (1.0 - TIP) * taper) + BLUR * pixel[:, None, None]
    line = torch.exp(-((distance * off.sin() / width) ** 2)) * taper.sqrt()
    return of_mine(o.ray) * line * (along > 0)


def _nearest(o: Objects) -> torch.Tensor:
    """The ray that is nearest to each of the directions, ``(B, DIRECTIONS)``."""
    middle = (torch.arange(DIRECTIONS, device=o.ray.device) + 0.5) * (2.0 * math.pi / DIRECTIONS)
    off = _turned(middle[None, :, None] - o.ray_angle[:, None]).abs()
    return off.masked_fill(o.ray[:, None] == 0, torch.inf).argmin(dim=2)


def _turned(angle: torch.Tensor) -> torch.Tensor:
    """The same direction from -pi to pi."""
    return torch.remainder(angle + math.pi, 2.0 * math.pi) - math.pi
