"""Generic objects: which kind, where, how large, how visible. Nothing here looks at a real lesion.

Lengths are millimetres in the breast, so that an object has the same size whatever the crop or the resolution. The
ranges are ours, fixed before any result (`facts` of the recipe study: radius 3.2 to 14 mm, aspect e^(+-0.4)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from dbtssl_implants.streams import OBJECTS, Draws

KINDS = ("blob", "spiculated", "rays", "warp", "foreign", "distortion")
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
