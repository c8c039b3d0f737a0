"""NT-Xent of pairs, some of which are left out."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def nt_xent(
    first: torch.Tensor, second: torch.Tensor, temperature: float, counts: torch.Tensor
) -> torch.Tensor:
    """Chen et al. 2020, equation 1, of the pairs of rows of ``first`` and ``second`` ``(n, D)``; a scalar.

    Pairs whose ``counts`` ``(n,)`` is false are left out, as negatives too. 0 for less than two that count.
    """
    if int(counts.sum()) < 2:
        return (first.sum() + second.sum()) * 0.0
    z = F.normalize(torch.cat([first[counts], second[counts]]), dim=1)  # 2m x D
    logits = z @ z.T / temperature
    logits.fill_diagonal_(-torch.inf)
    partner = torch.arange(len(z), device=z.device).roll(len(z) // 2)
    return F.cross_entropy(logits, partner)
