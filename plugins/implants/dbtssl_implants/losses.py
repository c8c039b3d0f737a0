"""Losses of the objective: NT-Xent, the contrast of painted twins, and mined false alarms."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from dbtssl.api import gather, rank


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


def presence_loss(logits: torch.Tensor, present: torch.Tensor, hardest: float) -> torch.Tensor:
    """Binary cross-entropy of ``logits`` ``(n,)`` and ``present`` ``(n,)``, 0 or 1, weighted by `mined`; a scalar.

    What is hardest is judged among the crops of all devices. With ``hardest`` 1 it is the plain mean.
    """
    if hardest == 1.0:
        return F.binary_cross_entropy_with_logits(logits, present)
    losses = F.binary_cross_entropy_with_logits(logits, present, reduction="none")
    weights = mined(gather(losses.detach()), gather(present) > 0, hardest)
    return (losses * weights[rank() * len(losses) :][: len(losses)]).mean()


def mined(losses: torch.Tensor, present: torch.Tensor, hardest: float) -> torch.Tensor:
    """Weights ``(n,)`` with a mean of 1: 1 where an object is present; elsewhere the same for the ``hardest`` share.

    Of ``m`` crops without an object the ``k = ceil(hardest m)`` with the highest loss weigh ``m / k``, the others 0.
    """
    absent = int((~present).sum())
    count = math.ceil(hardest * absent)
    weights = present.to(losses.dtype)
    if count:
        chosen = losses.masked_fill(present, -torch.inf).topk(count).indices
        weights[chosen] = absent / count
    return weights


def view_contrast(
    first: torch.Tensor, second: torch.Tensor, temperature: float, counts: torch.Tensor
) -> torch.Tensor:
    """NT-Xent (Chen et al. 2020, equation 1) of the clean crops ``(n, D)`` of two slices each; a scalar.

    ``counts`` ``(n,)`` is true where the slices are of different volumes: the two crops of such a pair are each other's
    positives, those of the other such pairs their negatives; pairs of one volume are left out. 0 for less than two.
    """
    return nt_xent(first, second, temperature, counts)
