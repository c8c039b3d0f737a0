"""Paint objects into views: brightness, tissue pulled or twisted, or tissue of another breast; and where they are.

An object is painted in three dimensions. In the slices that it reaches it is in focus; at a distance d beyond, a scan
of 15 degrees smears it along its sweep (the rows of a slice) over 2 tan(7.5 deg) d, and its contrast falls as the same
amount of light spreads. That is the artefact spread of shift-and-add; the ramp filter's undershoots are left out.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from dbtssl.api import gather, rank
from dbtssl_implants.objects import DISTORTION, FOREIGN, RAYS, SPICULATED, WARP, Objects

SWEEP = 2.0 * math.tan(math.radians(7.5))  # mm of smear for a mm out of focus (Hologic: 15 degrees)
SMOOTHEST = 1e-4


def paint(
    images: torch.Tensor,
    tissue: torch.Tensor,
    objects: Objects,
    pixel: torch.Tensor,
    height: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """``images`` ``(B, 1, S, S)`` with one object each, and its soft mask of the same shape, in [0, 1].

    ``tissue`` is bool of the same shape, ``pixel`` ``(B, 2)`` the height and width of a view pixel in mm, ``height``
    ``(B,)`` how far the view's slice lies above the anchor's in mm. Nothing is painted into air.
    """
    smeared = smear(objects.radius, objects.depth, height)
    blob, rays, reach, dy, dx = _shapes(images.shape, objects, pixel, smeared)
    inside = tissue[:, 0].float()
    kind, on = objects.kind[:, None, None], objects.on[:, None, None].float()
    sharp = focus(objects.radius, smeared)[:, None, None]
    shape = torch.where(kind == SPICULATED, torch.maximum(blob, 0.8 * rays), blob)
    shape = torch.where(kind == RAYS, rays, shape) * inside * on
    bell = torch.exp(-(reach**2)) * inside * on
    amount = objects.amplitude * spread(images, tissue)
    bright = images[:, 0] + amount[:, None, None] * shape * sharp
    pulled = _pull(images, objects, pixel, dy, dx, sharp)
    other, there = _others(images, inside)
    shape = torch.where(kind == FOREIGN, shape * there, shape)
    cover = shape * sharp
    out = torch.where(kind == FOREIGN, images[:, 0] * (1.0 - cover) + other * cover, bright)
    moved = images[:, 0] + (pulled - images[:, 0]) * inside * on
    out = torch.where(kind == WARP, moved, out)
    rayed = moved + amount[:, None, None] * rays * inside * on * sharp
    out = torch.where(kind == DISTORTION, rayed, out)
    mask = torch.where((kind == WARP) | (kind == DISTORTION), bell, shape) * sharp
    return out.clamp(0.0, 1.0)[:, None], mask[:, None]


def _shapes(
    size: torch.Size, o: Objects, pixel: torch.Tensor, smeared: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Blob and rays in [0, 1], distance from the centre in radii, and the offsets in mm; each ``(B, S, S)``."""

    def each(x: torch.Tensor) -> torch.Tensor:
        return x[:, None, None]

    dy, dx = offsets(size, o.y, o.x, pixel)
    radius = each(o.radius)
    rows = dy / (1.0 + each(smeared) / (2.0 * radius))
    cos, sin = each(o.turn.cos()), each(o.turn.sin())
    a = (cos * rows - sin * dx) * each(o.aspect)
    b = (sin * rows + cos * dx) / each(o.aspect)
    r = (a * a + b * b + SMOOTHEST).sqrt()
    angle = torch.atan2(b, a)
    outline = 1.0 + sum(
        each(o.wobble[:, k]) * torch.cos((k + 2) * angle + each(o.wobble_phase[:, k]))
        for k in range(o.wobble.shape[1])
    )
    blob = torch.sigmoid((radius * outline - r) / each(o.edge) * 2.0)
    waves = sum(
        each(o.spike[:, k])
        * torch.cos(each(o.spike_count[:, k]) * angle + each(o.spike_phase[:, k]))
        for k in range(o.spike.shape[1])
    )
    length = radius * each(o.spike_reach)
    rays = (
        torch.sigmoid((waves - each(o.spike_width)) * 6.0)
        * (1.0 - r / length).clamp_min(0.0).sqrt()
        * torch.sigmoid((length - r) * 2.0)
    )
    return blob, rays, r / radius, dy, dx


def offsets(
    size: torch.Size, y: torch.Tensor, x: torch.Tensor, pixel: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """How far pixels of views of ``size`` lie below and right of ``y`` and ``x`` ``(B,)``, mm, each ``(B, S, S)``."""
    rows = torch.arange(size[-2], device=pixel.device, dtype=torch.float32)
    columns = torch.arange(size[-1], device=pixel.device, dtype=torch.float32)
    dy = (rows[None, :, None] - y[:, None, None]) * pixel[:, :1, None]
    dx = (columns[None, None] - x[:, None, None]) * pixel[:, 1:, None]
    return dy.expand(-1, -1, size[-1]), dx.expand(-1, size[-2], -1)


def _pull(
    images: torch.Tensor,
    o: Objects,
    pixel: torch.Tensor,
    dy: torch.Tensor,
    dx: torch.Tensor,
    focus: torch.Tensor,
) -> torch.Tensor:
    """Images ``(B, S, S)`` whose tissue is drawn towards the centre, or for a negative pull away from it."""
    rows, columns = images.shape[-2:]
    bell = torch.exp(-(dy * dy + dx * dx) / (1.4 * o.radius[:, None, None]) ** 2)
    move = o.pull[:, None, None] * bell * focus
    y = torch.arange(rows, device=images.device)[None, :, None] + move * dy / pixel[:, :1, None]
    x = torch.arange(columns, device=images.device)[None, None] + move * dx / pixel[:, 1:, None]
    grid = torch.stack(((2.0 * x + 1.0) / columns - 1.0, (2.0 * y + 1.0) / rows - 1.0), dim=-1)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)[:, 0]


def _others(images: torch.Tensor, inside: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Another view of the batch, over all devices, and its tissue, each ``(B, S, S)``; none where it is alone."""
    everyone = gather(torch.stack([images[:, 0], inside], dim=1))  # N x 2 x S x S
    shifted = everyone.roll(len(everyone) // 3 + 1, 0)
    mine = shifted[rank() * len(images) :][: len(images)]
    return mine[:, 0], mine[:, 1] * float(len(everyone) > 1)


def spread(images: torch.Tensor, tissue: torch.Tensor) -> torch.Tensor:
    """Standard deviation of each view's tissue ``(B,)``; 0 where there is none."""
    weight = tissue.float()
    count = weight.sum(dim=(1, 2, 3)).clamp_min(1.0)
    mean = (images * weight).sum(dim=(1, 2, 3)) / count
    square = ((images - mean[:, None, None, None]) ** 2 * weight).sum(dim=(1, 2, 3))
    return (square / count).sqrt()


def smear(radius: torch.Tensor, depth: torch.Tensor, height: torch.Tensor) -> torch.Tensor:
    """Length in mm over which a thing is smeared in a slice ``height`` above the anchor's; all ``(B,)``, mm."""
    return SWEEP * ((height - depth).abs() - radius).clamp_min(0.0)


def focus(radius: torch.Tensor, smeared: torch.Tensor) -> torch.Tensor:
    """Share of its contrast that a thing of ``radius`` keeps where it is smeared over ``smeared`` mm, 1 in focus."""
    return 1.0 / (1.0 + smeared / (2.0 * radius))
