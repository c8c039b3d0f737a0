"""Cross-slice term ``contrastive``: InfoNCE of near slices against a queue without the patient's own slices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from dbtssl_moco.objective import info_nce
from torch import nn
from torch.nn import functional as F

from dbtssl.api import Queue, gather
from dbtssl_mammodino.views import CROSS

if TYPE_CHECKING:
    from dbtssl.api import Batch

ANCHOR = 0  # the view that asks


class Contrast(nn.Module):
    """Momentum contrast between slices (MoCo, equation 1): the query is the student's, the key the teacher's.

    Slices of one patient are nearly copies of each other: with all keys as negatives a query's own neighbours would be
    pushed away. ``exclude`` leaves out those of its volume, breast or patient.
    """

    def __init__(
        self,
        dim: int,
        queue_size: int,
        temperature: float,
        exclude: Literal["none", "volume", "breast", "patient"],
    ) -> None:
        super().__init__()
        self.queue = Queue(queue_size, dim)
        self.temperature, self.exclude = temperature, exclude

    def forward(self, query: torch.Tensor, key: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The loss of projections ``(B, D)`` of anchors and positives; then the queue takes all devices' keys in."""
        q, k = F.normalize(query, dim=1), F.normalize(key, dim=1)
        stale = None
        if self.exclude != "none":
            mine: tuple[torch.Tensor, ...] = getattr(batch, self.exclude)
            theirs: torch.Tensor = getattr(self.queue, self.exclude)
            stale = mine[ANCHOR][:, None] == theirs[None]
        loss = info_nce(q, k, self.queue.keys.clone(), self.temperature, stale)
        ids = (gather(getattr(batch, name)[CROSS]) for name in ("volume", "breast", "patient"))
        self.queue.enqueue(gather(k), *ids)
        return loss
