"""Tissue that is moved but harmless: stretched along one line, in all four crops of a spot.

Pulling tissue towards a point smooths it where it is drawn out and crowds it where it is drawn in, and a network that
may do so tells a painted pull by that alone. Here it happens without a point to which lines converge, and counts as
absent, so that the convergence must be seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from dbtssl_implants.displace import displaced, offsets
from dbtssl_implants.objects import GRIPS, PULLS, centres
from dbtssl_implants.streams import STRETCHES, Draws


@dataclass(frozen=True)
class Stretches:
    """One an image, ``(B,)``: the centre in view pixels, the reach in mm, the direction, and how strongly it is pulled.

    ``pull`` is the share of its distance along the line by which tissue at the centre is moved, 0 where there is none.
    """

    y: torch.Tensor
    x: torch.Tensor
    reach: torch.Tensor
    turn: torch.Tensor
    pull: torch.Tensor


def draw_stretches(
    tissue: torch.Tensor,
    seeds: torch.Tensor,
    *,
    share: float,
    radius: tuple[float, float],
) -> Stretches:
    """A stretch for ``share`` of the views, by the laws of place, reach and strength of painted pulls."""
    draws = Draws(seeds, STRETCHES)
    between = draws.between
    y, x, tissued = centres(tissue[:, 0], between(0.0, 1.0))
    reach = draws.log_between(*radius) * between(*GRIPS)
    on = tissued & draws.happens(share)
    return Stretches(y, x, reach, between(0.0, 2.0 * math.pi), between(*PULLS) * on)


def stretch(
    images: torch.Tensor, tissue: torch.Tensor, s: Stretches, pixel: torch.Tensor
) -> torch.Tensor:
    """``images`` ``(B, 1, S, S)`` with tissue pulled towards a line through the centre; ``pixel`` as for `paint`."""
    dy, dx = offsets(images.shape, s.y, s.x, pixel)
    sin, cos = (each[:, None, None] for each in (s.turn.sin(), s.turn.cos()))
    along = cos * dx + sin * dy
    bell = torch.exp(-(dy * dy + dx * dx) / (s.reach[:, None, None] ** 2))
    move = s.pull[:, None, None] * bell * along
    moved = displaced(images, move * sin / pixel[:, :1, None], move * cos / pixel[:, 1:, None])
    return torch.where(tissue & (s.pull != 0)[:, None, None, None], moved, images)
