"""What is harmless: decoys, painted as objects are but not to be found, and tissue that is stretched along a line."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from dbtssl_implants.objects import (
    DECOYS,
    GRIPS,
    PULLS,
    STRETCHES,
    Draws,
    centres,
    displaced,
    focus,
    offsets,
    smear,
    spread,
    which,
)

DECOY_KINDS = ("cyst", "node", "vessel", "calcification")
CYST, NODE, VESSEL, CALCIFICATION = range(len(DECOY_KINDS))
DOTS = 6  # at most, in a group of calcifications
GROUP = 5.0  # half width of a group, mm
BRIGHTER = 3.0  # a dot than an oval
EVEN = 0.7  # share of its texture that tissue loses within a cyst
HILUM = (
    1.3  # share of a node's contrast that its hilum lacks: a little darker than what is round it
)


@dataclass(frozen=True)
class Decoys:
    """One decoy an image: tensors ``(B,)``, or ``(B, DOTS)`` for the dots of a group.

    ``y``, ``x``, ``depth``, ``aspect``, ``turn``, ``amplitude`` and ``on`` are those of `Objects`; ``on`` is true for
    the share of views that have a decoy. ``radius`` is the oval's, half the vessel's width or a dot's, ``edge`` the
    width of its margin, mm; ``bend`` the vessel's curvature, 1/mm. ``hilum`` and ``hilum_at`` are the hilum's radius
    and distance from the centre, in radii. ``dot_y`` and ``dot_x`` are mm from the centre, ``dot`` says which dots
    there are.
    """

    kind: torch.Tensor
    on: torch.Tensor
    y: torch.Tensor
    x: torch.Tensor
    radius: torch.Tensor
    edge: torch.Tensor
    depth: torch.Tensor
    aspect: torch.Tensor
    turn: torch.Tensor
    amplitude: torch.Tensor
    bend: torch.Tensor
    hilum: torch.Tensor
    hilum_at: torch.Tensor
    dot_y: torch.Tensor
    dot_x: torch.Tensor
    dot: torch.Tensor


def draw_decoys(
    tissue: torch.Tensor,
    seeds: torch.Tensor,
    *,
    share: float,
    radius: tuple[float, float],
    amplitude: tuple[float, float],
) -> Decoys:
    """A decoy for ``share`` of the views; ``tissue`` is ``(B, 1, S, S)`` bool; every kind is equally likely.

    Place, contrast and an oval's size follow the law of `objects.draw`; vessels are 1 to 3 mm wide, dots 0.4 to 1.2.
    All comes from ``seeds`` ``(B,)`` alone, and from other streams of it than objects.
    """
    draws = Draws(seeds, DECOYS)
    between, happens = draws.between, draws.happens
    y, x, tissued = centres(tissue[:, 0], between(0.0, 1.0))
    kind = which((1.0,) * len(DECOY_KINDS), between(0.0, 1.0))
    size = draws.log_between(*radius)
    thin, tiny = between(0.5, 1.5), between(0.2, 0.6)
    strength = between(*amplitude)
    first = torch.arange(DOTS, device=seeds.device)[None] == 0
    return Decoys(
        kind=kind,
        on=tissued & happens(share),
        y=y,
        x=x,
        radius=torch.where(kind == VESSEL, thin, torch.where(kind == CALCIFICATION, tiny, size)),
        edge=between(0.2, 0.5),
        depth=between(-1.0, 1.0) * size,
        aspect=between(-0.4, 0.4).exp(),
        turn=between(0.0, 2.0 * math.pi),
        amplitude=torch.where(kind == CALCIFICATION, BRIGHTER, 1.0) * strength,
        bend=between(-0.03, 0.03),
        hilum=between(0.3, 0.55),
        hilum_at=between(0.4, 0.8),
        dot_y=between(-GROUP, GROUP, DOTS),
        dot_x=between(-GROUP, GROUP, DOTS),
        dot=(between(0.0, 1.0, DOTS) < 0.5) | first,
    )


def paint_decoys(
    images: torch.Tensor,
    tissue: torch.Tensor,
    decoys: Decoys,
    pixel: torch.Tensor,
    height: torch.Tensor,
) -> torch.Tensor:
    """``images`` ``(B, 1, S, S)`` with their decoys; ``tissue``, ``pixel`` and ``height`` as for `paint`.

    A view without a decoy is the same tensor bit for bit.
    """
    smeared = smear(decoys.radius, decoys.depth, height)
    dy, dx = offsets(images.shape, decoys.y, decoys.x, pixel)
    kind = decoys.kind[:, None, None]
    oval = _oval(decoys, dy, dx, smeared)
    shape = torch.where(kind == VESSEL, _vessel(decoys, dy, dx, pixel, smeared), oval)
    shape = torch.where(kind == CALCIFICATION, _dots(decoys, dy, dx, pixel, smeared), shape)
    shape = shape * tissue[:, 0] * _each(decoys.on)
    amount = decoys.amplitude * spread(images, tissue)
    even = EVEN * (kind == CYST) * (_mean(images[:, 0], shape) - images[:, 0])
    return (images + (shape * (_each(amount) + even))[:, None]).clamp(0.0, 1.0)


def _mean(images: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean of each image ``(B, S, S)`` under its weight, ``(B, 1, 1)``; 0 where that has none."""
    total = weight.sum(dim=(1, 2), keepdim=True).clamp_min(1e-6)
    return (images * weight).sum(dim=(1, 2), keepdim=True) / total


def _each(x: torch.Tensor) -> torch.Tensor:
    return x[:, None, None]


def _oval(d: Decoys, dy: torch.Tensor, dx: torch.Tensor, smeared: torch.Tensor) -> torch.Tensor:
    """A smooth ellipse, for a node without its hilum; ``(B, S, S)``, 1 inside and in focus."""
    rows = dy / (1.0 + _each(smeared / (2.0 * d.radius)))
    cos, sin = _each(d.turn.cos()), _each(d.turn.sin())
    along = (cos * rows - sin * dx) * _each(d.aspect) / _each(d.radius)
    across = (sin * rows + cos * dx) / _each(d.aspect) / _each(d.radius)
    softness = _each(2.0 * d.radius / d.edge)
    whole = torch.sigmoid((1.0 - torch.hypot(along, across)) * softness)
    away = torch.hypot(along - _each(d.hilum_at), across)
    dark = torch.sigmoid((_each(d.hilum) - away) * softness) * HILUM
    node = whole * (1.0 - dark)
    return torch.where(_each(d.kind) == NODE, node, whole) * _each(focus(d.radius, smeared))


def _vessel(
    d: Decoys, dy: torch.Tensor, dx: torch.Tensor, pixel: torch.Tensor, smeared: torch.Tensor
) -> torch.Tensor:
    """A band along an arc through the centre: what is smeared along it keeps its contrast; ``(B, S, S)``."""
    cos, sin = _each(d.turn.cos()), _each(d.turn.sin())
    along, across = cos * dx + sin * dy, cos * dy - sin * dx
    slope = _each(d.bend) * along
    off = (across - slope * along / 2.0).abs() / (1.0 + slope**2).sqrt()
    over = smeared * d.turn.cos().abs()
    half = _each(d.radius + over / 2.0)
    edge = _each(torch.maximum(d.edge, pixel.amax(dim=1) / 2.0))  # else thin bands look like beads
    return torch.sigmoid((half - off) / edge * 2.0) * _each(focus(d.radius, over))


def _dots(
    d: Decoys, dy: torch.Tensor, dx: torch.Tensor, pixel: torch.Tensor, smeared: torch.Tensor
) -> torch.Tensor:
    """A group of Gaussian dots, none narrower than a pixel can show; ``(B, S, S)``."""
    least = pixel / 2.0
    tall = _each(torch.maximum(d.radius, least[:, 0]) + smeared / 2.0)
    wide = _each(torch.maximum(d.radius, least[:, 1]))
    dots = [
        torch.exp(-0.5 * (((dy - _each(y)) / tall) ** 2 + ((dx - _each(x)) / wide) ** 2))
        * _each(there)
        for y, x, there in zip(d.dot_y.T, d.dot_x.T, d.dot.T, strict=True)
    ]
    sharp = focus(torch.maximum(d.radius, least[:, 0]), smeared)
    return torch.stack(dots).amax(dim=0) * _each(sharp)


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
