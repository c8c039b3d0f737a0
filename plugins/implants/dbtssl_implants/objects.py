"""Objects and how they are painted: which kind, where, how large, how visible. Nothing here looks at a real lesion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from dbtssl.api import gather, rank, uniform
from dbtssl_implants.config import KINDS

BLOB, SPICULATED, RAYS, WARP, FOREIGN, DISTORTION = range(len(KINDS))
HARMONICS = 4  # of a blob's outline, from the second on
MOST_RAYS = 40
TIGHTER = 1.5  # times the pull of a warp that a distortion has; from e^(3/2) / 2 = 2.24 in all tissue would fold over
PULLS = (0.15, 0.9)  # the weakest of what is painted, and the strongest, of a distortion
GRIPS = (1.2, 2.4)  # how far a pull reaches, in radii
LARGER = 1.45  # boxes of distortions have a median side of 25.6 mm, those of masses of 17.7 (BCS-DBT, training boxes)


@dataclass(frozen=True)
class Objects:
    """One object an image: tensors ``(B,)``, or ``(B, n)`` for the terms of outline and rays.

    ``y`` and ``x`` are the centre in view pixels; ``radius``, ``edge`` and ``depth`` (of the centre above the anchor
    slice) are mm; ``grip`` is how far a pull reaches, in radii. ``amplitude`` is in standard deviations of the view's
    tissue and may be negative. ``on`` is false where the view has no tissue to paint into. ``ray`` is the strength of
    each ray, 0 where there is none; its length is in radii from the centre, its half width at the root mm;
    ``ray_bend`` is by how many radians all have turned where the longest one ends.
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
    pull: torch.Tensor
    grip: torch.Tensor
    wobble: torch.Tensor
    wobble_phase: torch.Tensor
    ray: torch.Tensor
    ray_angle: torch.Tensor
    ray_length: torch.Tensor
    ray_width: torch.Tensor
    ray_bend: torch.Tensor


def draw(
    tissue: torch.Tensor,
    seeds: torch.Tensor,
    *,
    weights: tuple[float, ...],
    radius: tuple[float, float],
    amplitude: tuple[float, float],
    p_dark: float,
) -> Objects:
    """One object for each view; ``tissue`` is ``(B, 1, S, S)`` bool, ``weights`` one number for each of `KINDS`.

    The centre is a tissue pixel of the middle half of the view, or where that has none of all of it; every pixel is
    equally likely. Radius and aspect are log-uniform. All comes from ``seeds`` ``(B,)`` alone.
    """
    draws = Draws(seeds, OBJECTS)
    between, happens = draws.between, draws.happens
    y, x, on = centres(tissue[:, 0], between(0.0, 1.0))
    size = draws.log_between(*radius)
    fade = torch.tensor([0.2, 0.15, 0.1, 0.1], device=seeds.device)  # later harmonics are weaker
    kind = which(weights, between(0.0, 1.0))
    size = torch.where(kind == DISTORTION, LARGER * size, size)
    count = between(8.0, MOST_RAYS + 1.0)[:, None].floor()
    return Objects(
        kind=kind,
        on=on,
        y=y,
        x=x,
        radius=size,
        edge=torch.minimum(draws.log_between(0.5, 6.0), 0.6 * size),
        depth=between(-1.0, 1.0) * size,
        aspect=between(-0.4, 0.4).exp(),
        turn=between(0.0, 2.0 * math.pi),
        amplitude=torch.where(happens(p_dark), -1.0, 1.0) * between(*amplitude),
        pull=_pull(kind, between(PULLS[0], PULLS[1] / TIGHTER), happens(0.2)),
        grip=between(*GRIPS),
        wobble=between(-1.0, 1.0, HARMONICS) * fade,
        wobble_phase=between(0.0, 2.0 * math.pi, HARMONICS),
        ray=between(0.3, 1.0, MOST_RAYS) * (torch.arange(MOST_RAYS, device=seeds.device) < count),
        ray_angle=between(0.0, 2.0 * math.pi, MOST_RAYS),
        ray_length=between(1.2, 2.8, MOST_RAYS),
        ray_width=between(0.6, 1.8, MOST_RAYS),
        ray_bend=between(-0.5, 0.5),
    )


def _pull(kind: torch.Tensor, strength: torch.Tensor, pushed: torch.Tensor) -> torch.Tensor:
    """What a warp draws in or pushes away; spiculated masses always draw in, distortions too, and more."""
    either = torch.where(pushed & (kind == WARP), -strength, strength)
    return torch.where(kind == DISTORTION, TIGHTER * strength, either)


def which(weights: tuple[float, ...], share: torch.Tensor) -> torch.Tensor:
    """The kind at ``share`` ``(B,)``, float32 in [0, 1), of the weights laid end to end."""
    exact = np.cumsum(weights, dtype=np.float64)
    exact /= exact[-1]
    near = exact.astype(
        np.float32
    )  # not every device has float64: each end is rounded up to the next float32
    ends = np.where(near < exact, np.nextafter(near, np.float32(2.0)), near)
    return torch.searchsorted(torch.from_numpy(ends).to(share.device), share, right=True)


def centres(
    tissue: torch.Tensor, share: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A tissue pixel of each mask ``(B, rows, columns)``, at ``share`` of its list, as y and x; and if it has any."""
    rows, columns = tissue.shape[1:]
    middle = torch.zeros(rows, columns, dtype=torch.bool, device=tissue.device)
    middle[rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4] = True
    central = tissue & middle
    empty = ~central.flatten(1).any(dim=1)
    allowed = torch.where(empty[:, None, None], tissue, central).flatten(1)
    count = allowed.cumsum(dim=1)
    # in whole numbers, for a float32 product is wrong from 2^24 on: a share is a multiple of 2^-24 (`uniform`)
    wanted = ((share * 2.0**24).long() * count[:, -1] >> 24) + 1
    where = torch.searchsorted(count, wanted[:, None])[:, 0].clamp_max(rows * columns - 1)
    return (where // columns).float(), (where % columns).float(), count[:, -1] > 0


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

    pulled = _pulled(images, objects, pixel, dy, dx, sharp)
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


def _pulled(
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


def offsets(
    size: torch.Size, y: torch.Tensor, x: torch.Tensor, pixel: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """How far pixels of views of ``size`` lie below and right of ``y`` and ``x`` ``(B,)``, mm, each ``(B, S, S)``."""
    rows = torch.arange(size[-2], device=pixel.device, dtype=torch.float32)
    columns = torch.arange(size[-1], device=pixel.device, dtype=torch.float32)
    dy = (rows[None, :, None] - y[:, None, None]) * pixel[:, :1, None]
    dx = (columns[None, None] - x[:, None, None]) * pixel[:, 1:, None]
    return dy.expand(-1, -1, size[-1]), dx.expand(-1, size[-2], -1)


def displaced(images: torch.Tensor, down: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Images ``(B, 1, S, S)`` whose pixels are read ``down`` and ``right`` ``(B, S, S)`` pixels away."""
    rows, columns = images.shape[-2:]
    y = torch.arange(rows, device=images.device)[None, :, None] + down
    x = torch.arange(columns, device=images.device)[None, None] + right
    grid = torch.stack(((2.0 * x + 1.0) / columns - 1.0, (2.0 * y + 1.0) / rows - 1.0), dim=-1)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


OBJECTS = range(100, 132)
WINDOWS = range(132, 148)
DECOYS = range(148, 180)
NOISE = 180  # and the next, as `normal` takes two
PLACES = range(182, 184)
STRETCHES = range(184, 192)


class Draws:
    """Uniform numbers from ``seeds`` ``(B,)`` alone; each call takes the next of ``streams``."""

    def __init__(self, seeds: torch.Tensor, streams: range) -> None:
        self.seeds = seeds
        self._streams = iter(streams)

    def between(self, low: float, high: float, *shape: int) -> torch.Tensor:
        """Uniform from ``low`` to ``high``, ``(B, *shape)``."""
        return low + (high - low) * uniform(self.seeds, next(self._streams), shape)

    def log_between(self, low: float, high: float) -> torch.Tensor:
        """Log-uniform from ``low`` to ``high``, ``(B,)``."""
        return self.between(math.log(low), math.log(high)).exp()

    def happens(self, p: float) -> torch.Tensor:
        """True with probability ``p``, ``(B,)``."""
        return self.between(0.0, 1.0) < p
