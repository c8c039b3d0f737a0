"""Paint objects into views: brightness, tissue pulled or twisted, or tissue of another breast; and where they are.

An object is painted in three dimensions. In the slices that it reaches it is in focus; at a distance d beyond, a scan
of 15 degrees smears it along its sweep (the rows of a slice) over 2 tan(7.5 deg) d, and its contrast falls as the same
amount of light spreads. That is the artefact spread of shift-and-add; the ramp filter's undershoots are left out.
"""

from __future__ import annotations

import math

import torch

from dbtssl.api import gather, rank
from dbtssl_implants.displace import displaced, offsets
from dbtssl_implants.objects import BLOB, DISTORTION, FOREIGN, RAYS, SPICULATED, WARP, Objects
from dbtssl_implants.rays import ray_shapes

SWEEP = 2.0 * math.tan(math.radians(7.5))  # mm of smear for a mm out of focus (Hologic: 15 degrees)
SMOOTHEST = 1e-4
BRIGHTER = 2.0  # a ray than a blob: a thin line of the same contrast could hardly be seen


def paint(
    images: torch.Tensor,
    tissue: torch.Tensor,
    objects: Objects,
    pixel: torch.Tensor,
    height: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """``images`` ``(B, 1, S, S)`` with one object each, and its soft mask of the same shape, in [0, 1].

    ``tissue`` is bool of the same shape, ``pixel`` ``(B, 2)`` the height and width of a view pixel in mm, ``height``
    ``(B,)`` how far the view's slice lies above the anchor's in mm. Nothing is painted into air. The mask is of the
    middle: of rays and pulls a bell round their centre, so that a place is not where a ray ends.
    """
    smeared = smear(objects.radius, objects.depth, height)
    blob, rays, bell, dy, dx = _shapes(images.shape, objects, pixel, smeared)
    before, inside = images[:, 0], tissue[:, 0] & objects.on[:, None, None]
    sharp = focus(objects.radius, smeared)[:, None, None]
    amount = (objects.amplitude * spread(images, tissue))[:, None, None]

    def of(*kinds: int) -> torch.Tensor:
        wanted = torch.tensor(kinds, device=objects.kind.device)
        return torch.isin(objects.kind, wanted)[:, None, None] & inside

    pulled = _pull(images, objects, pixel, dy, dx, sharp)
    out = torch.where(of(WARP, SPICULATED, DISTORTION), pulled, before)
    light = torch.maximum(
        blob * of(BLOB, SPICULATED), BRIGHTER * rays * of(RAYS, SPICULATED, DISTORTION)
    )
    out = out + amount * light * sharp
    other, there = _others(images, tissue[:, 0].float())
    cover = blob * sharp * there * of(FOREIGN)
    out = out * (1.0 - cover) + other * cover
    shape = blob * of(BLOB, SPICULATED) + bell * of(RAYS, WARP, DISTORTION)
    return out.clamp(0.0, 1.0)[:, None], (shape * sharp + cover)[:, None]


def _shapes(
    size: torch.Size, o: Objects, pixel: torch.Tensor, smeared: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Blob, rays and a bell round the centre in [0, 1], and the offsets from it in mm; each ``(B, S, S)``."""

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
    rays = ray_shapes(o, angle, r, pixel.mean(dim=1))
    return blob, rays, torch.exp(-((r / radius) ** 2)), dy, dx


def _pull(
    images: torch.Tensor,
    o: Objects,
    pixel: torch.Tensor,
    dy: torch.Tensor,
    dx: torch.Tensor,
    focus: torch.Tensor,
) -> torch.Tensor:
    """Images ``(B, S, S)`` whose tissue is drawn towards the centre, or for a negative pull away from it."""
    bell = torch.exp(-(dy * dy + dx * dx) / ((o.grip * o.radius)[:, None, None]) ** 2)
    move = o.pull[:, None, None] * bell * focus
    return displaced(images, move * dy / pixel[:, :1, None], move * dx / pixel[:, 1:, None])[:, 0]


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
