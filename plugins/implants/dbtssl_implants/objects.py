"""Generic objects: which kind, where, how large, how visible. Nothing here looks at a real lesion.

Lengths are millimetres in the breast, so that an object has the same size whatever the crop or the resolution. The
ranges are ours, fixed before any result (`facts` of the recipe study: radius 3.2 to 14 mm, aspect e^(+-0.4)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch

KINDS = ("blob", "spiculated", "rays", "warp", "foreign")
BLOB, SPICULATED, RAYS, WARP, FOREIGN = range(len(KINDS))
HARMONICS = 4  # of a blob's outline, from the second on
SPIKES = 5  # sinusoids whose peaks are the rays


@dataclass(frozen=True)
class Objects:
    """One object an image: tensors ``(B,)``, or ``(B, n)`` for the terms of outline and rays.

    ``y`` and ``x`` are the centre in view pixels; ``radius``, ``edge`` and ``depth`` (of the centre above the anchor
    slice) are mm. ``amplitude`` is in standard deviations of the view's tissue and may be negative. ``on`` is false
    where the view has no tissue to paint into.
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
    wobble: torch.Tensor
    wobble_phase: torch.Tensor
    spike: torch.Tensor
    spike_phase: torch.Tensor
    spike_count: torch.Tensor
    spike_reach: torch.Tensor
    spike_width: torch.Tensor

    def to(self, device: torch.device) -> Objects:
        """The same on ``device``."""
        return Objects(*(getattr(self, field.name).to(device) for field in fields(self)))


def draw(
    tissue: torch.Tensor,
    *,
    weights: tuple[float, ...],
    radius: tuple[float, float],
    amplitude: tuple[float, float],
    p_dark: float,
) -> Objects:
    """One object for each view; ``tissue`` is ``(B, 1, S, S)`` bool, ``weights`` one number for each of `KINDS`.

    The centre is a tissue pixel of the middle half of the view, or where that has none of all of it; every pixel is
    equally likely. Radius and aspect are log-uniform. Numbers come from torch's global generator on the CPU, which the
    training loop seeds in each step.
    """
    n = len(tissue)
    y, x, on = _centres(tissue.detach().cpu()[:, 0])

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, *shape)

    def log_uniform(low: float, high: float) -> torch.Tensor:
        return uniform(math.log(low), math.log(high)).exp()

    kind = torch.multinomial(torch.tensor(weights), n, replacement=True)
    size = log_uniform(*radius)
    sign = torch.where(torch.rand(n) < p_dark, -1.0, 1.0)
    fade = torch.tensor([0.2, 0.15, 0.1, 0.1])  # later harmonics are weaker
    return Objects(
        kind=kind,
        on=on,
        y=y,
        x=x,
        radius=size,
        edge=uniform(0.5, 2.3),
        depth=uniform(-1.0, 1.0) * size,
        aspect=uniform(-0.4, 0.4).exp(),
        turn=uniform(0.0, 2.0 * math.pi),
        amplitude=sign * uniform(*amplitude),
        pull=uniform(0.25, 0.7) * torch.where(torch.rand(n) < 0.2, -1.0, 1.0),
        wobble=uniform(-1.0, 1.0, HARMONICS) * fade,
        wobble_phase=uniform(0.0, 2.0 * math.pi, HARMONICS),
        spike=uniform(-1.0, 1.0, SPIKES),
        spike_phase=uniform(0.0, 2.0 * math.pi, SPIKES),
        spike_count=torch.randint(5, 19, (n, SPIKES)).float(),
        spike_reach=uniform(1.3, 2.8),
        spike_width=uniform(0.2, 0.9),
    )


def _centres(tissue: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A tissue pixel of each mask ``(B, rows, columns)`` as y and x, and whether it has any."""
    rows, columns = tissue.shape[1:]
    middle = torch.zeros(rows, columns)
    middle[rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4] = 1.0
    inside = tissue.float()
    weight = inside * middle
    empty = weight.sum(dim=(1, 2)) == 0
    weight[empty] = inside[empty]
    on = weight.sum(dim=(1, 2)) > 0
    weight[~on] = 1.0
    where = torch.multinomial(weight.flatten(1), 1)[:, 0]
    return (where // columns).float(), (where % columns).float(), on
