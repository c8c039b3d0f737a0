"""Mined false alarms: of the crops without an object only those count that look most as if they had one.

Online hard example mining (Shrivastava et al. 2016, arXiv:1604.03540, section 4), of the negatives alone. The crops
without an object keep the weight that they have together, so that those with one are not pushed aside as fewer count.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from dbtssl.api import gather, rank


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
