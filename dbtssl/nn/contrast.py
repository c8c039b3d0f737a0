"""Contrast against a queue of keys (MoCo): InfoNCE, which keys are no negatives, and how keys enter the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from dbtssl.nn.devices.distributed import gather

if TYPE_CHECKING:
    from dbtssl.interfaces import Batch, ExcludedKeys
    from dbtssl.nn.queue import Queue


def info_nce(
    q: torch.Tensor,
    k: torch.Tensor,
    queue: torch.Tensor,
    temperature: float,
    excluded: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cross-entropy of the positive among positive and queue (MoCo, equation 1), the mean over queries; a scalar.

    It is computed in float32, also under autocast: bf16 would round the cosines to 1/256.

    Args:
        q: Queries ``(B, D)``, or ``(B, N, D)`` for ``N`` places of each image; of unit length.
        k: The positive of each query, of the same shape and length.
        queue: Keys ``(K, D)`` of unit length. It is copied, for it may change before the backward pass.
        temperature: Divisor of the cosines.
        excluded: ``(B, K)``, true where a key is no negative of an image's queries, see `own_keys`.
    """
    with torch.autocast(q.device.type, enabled=False):
        positive = (q * k).sum(dim=-1, keepdim=True)  # B x 1, or B x N x 1
        negative = q @ queue.clone().T  # B x K, or B x N x K
        if excluded is not None:
            negative = negative.masked_fill(
                excluded if q.ndim == 2 else excluded[:, None], -torch.inf
            )
        logits = torch.cat([positive, negative], dim=-1).flatten(0, -2) / temperature
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=q.device))


def own_keys(queue: Queue, batch: Batch, view: int, of: ExcludedKeys) -> torch.Tensor | None:
    """Keys of ``queue`` from the volume, breast or patient of each image of ``view``, ``(B, K)``; None for "none".

    Slices of one volume, breast or patient look alike: as negatives they would push a query's neighbours away.
    """
    if of == "none":
        return None
    mine: tuple[torch.Tensor, ...] = getattr(batch, of)
    theirs: torch.Tensor = getattr(queue, of)
    return mine[view][:, None] == theirs[None]


def add_keys(queue: Queue, keys: torch.Tensor, batch: Batch, view: int) -> None:
    """Put ``keys`` ``(B, D)``, made of the images of ``view``, into ``queue``: those of all devices, with their ids."""
    ids = (batch.volume[view], batch.breast[view], batch.patient[view])
    queue.enqueue(gather(keys), *(gather(x) for x in ids))
