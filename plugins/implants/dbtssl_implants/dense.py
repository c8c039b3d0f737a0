"""Dense positives: the same place of tissue in the clean crops of two slices of a volume, by geometry.

After the local contrast of DenseCL (Wang et al. 2021, equation 2), whose matches are the most similar features; here
both windows are known, so that a match needs no features. Coordinates are (x, y) from -1 to 1, as `windows` has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from dbtssl_implants.crops import ANCHOR, POSITIVE
from dbtssl_implants.streams import PLACES, Draws

if TYPE_CHECKING:
    from dbtssl.api import Batch

GRID = 3  # rows and columns of a pair's places; of a map at stride 32, 224 pixels have 7
EACH = GRID * GRID  # places of a pair


def matched_places(
    batch: Batch, maps: tuple[torch.Tensor, torch.Tensor], where: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features ``(n * EACH, C)`` of the same tissue in both crops of each pair, and which of them count.

    ``maps`` ``(n, N, C)`` are the places of two square feature maps, of crops of the windows ``where`` ``(n, 2, 3)``
    of anchor and positive. What counts lies in both windows and in the tissue of both slices (air is the same
    everywhere), and its slices are of one volume.
    """
    points, counts = shared_places(where, batch.needed("seeds")[ANCHOR])
    counts = counts & (batch.volume[ANCHOR] == batch.volume[POSITIVE])[:, None]
    for view in (ANCHOR, POSITIVE):
        tissue = F.grid_sample(
            batch.tissue[view].float(), points[:, None], mode="nearest", align_corners=False
        )
        counts = counts & (tissue[:, 0, 0] > 0)
    first, second = (
        read_places(places, in_crop(points, window)).flatten(0, 1)
        for places, window in zip(maps, where, strict=True)
    )
    return first, second, counts.flatten()


def shared_places(
    where: tuple[torch.Tensor, torch.Tensor], seeds: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of the view ``(n, EACH, 2)`` and whether they lie in both windows, ``(n, EACH)``.

    One is drawn in each cell of a grid over what the windows share, so that they lie apart. Windows that share nothing
    have none.
    """
    half = [window[:, :, :2].abs().sum(dim=2) for window in where]  # n x 2: a window has no turn
    middle = [window[:, :, 2] for window in where]
    low = torch.maximum(middle[0] - half[0], middle[1] - half[1])
    high = torch.minimum(middle[0] + half[0], middle[1] + half[1])
    draws = Draws(seeds, PLACES)
    within = torch.stack([draws.between(0.0, 1.0, EACH) for _ in PLACES], dim=2)
    number = torch.arange(EACH, device=seeds.device)
    cell = torch.stack([number % GRID, number // GRID], dim=1)
    points = low[:, None] + (high - low)[:, None] * (cell + within) / GRID
    return points, (high > low).all(dim=1)[:, None].expand(-1, EACH)


def in_crop(points: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """Where points of the view ``(n, k, 2)`` lie in the crop of a ``window`` ``(n, 2, 3)``; undoes its map."""
    scale = window[:, :, :2].diagonal(dim1=1, dim2=2)  # n x 2, negative where mirrored
    return (points - window[:, None, :, 2]) / scale[:, None]


def read_places(places: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Bilinear values ``(n, k, C)`` of a square map ``(n, N, C)`` at ``(n, k, 2)``; its border goes on outside.

    As a product of matrices: the gradient of torch's `grid_sample` is not the same twice on a GPU.
    """
    side = round(places.shape[1] ** 0.5)
    cell = (((at + 1.0) * side - 1.0) / 2.0).clamp(0.0, side - 1.0)  # n x k x 2
    hat = F.relu(1.0 - (cell[..., None] - torch.arange(side, device=at.device)).abs())
    weights = hat[:, :, 1, :, None] * hat[:, :, 0, None, :]  # n x k x rows x columns
    return weights.flatten(2) @ places
