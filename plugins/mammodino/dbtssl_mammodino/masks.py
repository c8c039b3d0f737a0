"""Which tokens the student does not see: blocks of tissue, drawn for a whole batch at once from one seed a sample.

DINOv2 draws blocks over the whole crop and a share of all its patches (`dinov2/data/masking.py`). On a breast that
fills a part of the crop, most of such a mask hides air; and the public variant that cuts it to tissue and refills the
rest with single patches hides all tissue of small breasts. Here a block begins at a tissue patch, holds tissue alone,
and the share is of the tissue; it is met exactly, by taking of the last block the patches nearest to its middle.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from dbtssl.api import uniform

MIN_BLOCK = 4  # patches; DINOv2's least block
ASPECT = (0.3, 1 / 0.3)  # of a block's height to its width, DINOv2
BLOCKS = 6  # before what is left of the target is taken around the last block
# streams of random numbers: a sample's own, apart from those of its photometry (0 to 6)
CHOSEN, RATIO, MIDDLE, SHAPE, TIE = range(100, 105)


def tissue_patches(tissue: torch.Tensor, patch: tuple[int, int], share: float) -> torch.Tensor:
    """Which patches are tissue, ``(B, h, w)`` bool, of ``tissue`` ``(B, 1, rows, columns)``.

    A patch is tissue where at least ``share`` of its pixels are; with share 0 every patch is.
    """
    pixels = F.avg_pool2d(tissue.float(), patch, divisor_override=1)[:, 0]
    return pixels >= share * patch[0] * patch[1]


def targets(
    tissue: torch.Tensor,
    seeds: torch.Tensor,
    probability: float,
    ratio: tuple[float, float],
    min_visible: float,
) -> torch.Tensor:
    """How many tissue patches of each image to mask, ``(B,)`` int64; 0 for an image that is not chosen.

    An image is chosen with ``probability``, and of its ``n`` tissue patches a share is masked that is uniform in
    ``ratio``, but at least one, and so that a share of ``min_visible`` stays visible. Where ``n`` is too small for
    both, one is masked. An image of one tissue patch is not masked: nothing would be left.
    """
    n = tissue.flatten(1).sum(dim=1)
    low, high = ratio
    share = low + (high - low) * uniform(seeds, RATIO)
    most = (n * (1.0 - min_visible)).floor().long()
    wanted = torch.minimum((share * n).round().long(), most).clamp_min(1)
    chosen = (uniform(seeds, CHOSEN) < probability) & (n >= 2)
    return torch.where(chosen, wanted, 0)


def block_masks(tissue: torch.Tensor, target: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
    """Masks ``(B, h, w)`` of exactly ``target`` ``(B,)`` patches of ``tissue`` ``(B, h, w)``, in blocks.

    A block's middle is any tissue patch that is not masked yet, its area is uniform from `MIN_BLOCK` to what is left of
    the target, its aspect log-uniform in `ASPECT`, as in DINOv2. ``target`` is at most the number of tissue patches.
    """
    grid = tuple(tissue.shape[1:])
    middle = uniform(seeds, MIDDLE, (BLOCKS, *grid))
    shape = uniform(seeds, SHAPE, (BLOCKS, 2))
    tie = 1e-3 * uniform(
        seeds, TIE, (BLOCKS + 1, *grid)
    )  # of a ring's patches, equally far, some come first
    masked = torch.zeros_like(tissue)
    nearest = torch.full_like(tissue, torch.inf, dtype=torch.float32)
    for k in range(BLOCKS):
        left, free = target - masked.flatten(1).sum(dim=1), tissue & ~masked
        area = MIN_BLOCK + (left - MIN_BLOCK).clamp_min(0) * shape[:, k, 0]
        distance = _from_middle(middle[:, k].masked_fill(~free, -1.0), area, shape[:, k, 1])
        nearest = torch.minimum(nearest, distance)
        masked |= _first(left, distance + tie[:, k], free & (distance <= 1.0))
    left, free = target - masked.flatten(1).sum(dim=1), tissue & ~masked
    return masked | _first(left, nearest + tie[:, BLOCKS], free)  # the blocks grow


def _from_middle(score: torch.Tensor, area: torch.Tensor, aspect: torch.Tensor) -> torch.Tensor:
    """Distance of every patch from the middle of a block, ``(B, h, w)``: 1 on its edge, less inside.

    The middle is where ``score`` ``(B, h, w)`` is highest; ``area`` ``(B,)`` is in patches, ``aspect`` ``(B,)`` from 0
    to 1 between the two of `ASPECT`.
    """
    _, h, w = score.shape
    y, x = torch.unravel_index(score.flatten(1).argmax(dim=1), (h, w))  # B
    low, high = (math.log(a) for a in ASPECT)
    ratio = torch.exp(low + (high - low) * aspect)
    height = (area * ratio).sqrt().clamp(1, h)
    width = (area / ratio).sqrt().clamp(1, w)
    dy = (torch.arange(h, device=y.device) - y[:, None]).abs() / (height[:, None] / 2)  # B x h
    dx = (torch.arange(w, device=x.device) - x[:, None]).abs() / (width[:, None] / 2)  # B x w
    return torch.maximum(dy[:, :, None], dx[:, None])


def _first(count: torch.Tensor, order: torch.Tensor, among: torch.Tensor) -> torch.Tensor:
    """The ``count`` ``(B,)`` patches of ``among`` ``(B, h, w)`` that are least in ``order``."""
    ordered = torch.where(among, order, torch.inf).flatten(1).argsort(dim=1, stable=True)
    rank = ordered.argsort(dim=1).view_as(among)
    return among & (rank < count[:, None, None])
