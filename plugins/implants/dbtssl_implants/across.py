"""CC and MLO of a breast: NT-Xent over the global projections of pairs whose slices are of two volumes.

Two views of a breast share the breast and no place, so that nothing dense can be asked of them.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


def view_contrast(
    first: torch.Tensor, second: torch.Tensor, temperature: float, counts: torch.Tensor
) -> torch.Tensor:
    """NT-Xent (Chen et al. 2020, equation 1) of the clean crops ``(n, D)`` of two slices each; a scalar.

    ``counts`` ``(n,)`` is true where the slices are of different volumes: the two crops of such a pair are each other's
    positives, those of the other such pairs their negatives; pairs of one volume are left out. 0 for less than two.
    """
    if int(counts.sum()) < 2:
        return (first.sum() + second.sum()) * 0.0
    z = F.normalize(torch.cat([first[counts], second[counts]]), dim=1)  # 2m x D
    logits = z @ z.T / temperature
    logits.fill_diagonal_(-torch.inf)
    partner = torch.arange(len(z), device=z.device).roll(len(z) // 2)
    return F.cross_entropy(logits, partner)
