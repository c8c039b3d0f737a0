"""NT-Xent in which each clean crop and its painted twin are two identities: the twin is a hard negative.

What separates twins is the object alone, so the loss pays for encoding it; a contrast of crops alone keeps what
identifies a crop, and few crops have a lesion.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


def twin_contrast(
    clean: tuple[torch.Tensor, torch.Tensor],
    painted: tuple[torch.Tensor, torch.Tensor],
    temperature: float,
    counts: torch.Tensor,
) -> torch.Tensor:
    """NT-Xent (Chen et al. 2020, equation 1) over ``2n`` identities, two views each; a scalar.

    Each part is ``(n, D)``: the same spots in two slices, without object and with it. ``counts`` ``(n,)`` is false
    where the two slices are of different volumes, or where a painted crop does not show its object and so is no other
    identity than its twin: such spots are negatives only. 0 where no spot is left.
    """
    first = F.normalize(torch.cat([clean[0], painted[0]]), dim=1)  # 2n x D
    second = F.normalize(torch.cat([clean[1], painted[1]]), dim=1)
    z = torch.cat([first, second])  # 4n x D
    half = len(first)
    logits = z @ z.T / temperature
    logits.fill_diagonal_(-torch.inf)
    partner = torch.arange(2 * half, device=z.device).roll(half)
    counted = counts.repeat(4)
    if not bool(counted.any()):
        return z.sum() * 0.0
    return F.cross_entropy(logits[counted], partner[counted])
