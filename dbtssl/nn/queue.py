"""MoCo's queue of keys, with the volume, breast and patient that each key comes from."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from dbtssl.errors import ConfigError

NOBODY = -1  # id of the random keys that a queue starts with; no volume, breast or patient has it


class Queue(nn.Module):
    """First in, first out: ``keys`` ``(size, dim)`` on the unit sphere, and their ids, each ``(size,)``.

    All of it is buffers, so a checkpoint holds it (lightly's memory bank is left out of ``state_dict``). The queue
    starts with random unit vectors, as MoCo's does (`moco/builder.py:49`). A cohort with fewer slices than ``size``
    is allowed: the queue then keeps keys of earlier epochs.
    """

    keys: torch.Tensor
    volume: torch.Tensor
    breast: torch.Tensor
    patient: torch.Tensor
    pointer: torch.Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        if size < 1 or dim < 1:
            raise ConfigError(f"queue: got size {size} and dim {dim}, expected 1 or more of each")
        self.register_buffer("keys", F.normalize(torch.randn(size, dim), dim=1))
        for name in ("volume", "breast", "patient"):
            self.register_buffer(name, torch.full((size,), NOBODY))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    def __len__(self) -> int:
        return len(self.keys)

    @torch.no_grad()
    def enqueue(
        self, keys: torch.Tensor, volume: torch.Tensor, breast: torch.Tensor, patient: torch.Tensor
    ) -> None:
        """Write ``keys`` ``(B, dim)`` and their ids ``(B,)`` over the oldest; of more than ``size`` the last stay.

        On several devices the caller gathers first, so that all queues are equal.
        """
        kept = min(len(keys), len(self))
        first = self.pointer + len(keys) - kept
        where = (first + torch.arange(kept, device=self.keys.device)) % len(self)
        self.keys[where] = keys[-kept:].to(self.keys.dtype)
        for mine, new in ((self.volume, volume), (self.breast, breast), (self.patient, patient)):
            mine[where] = new[-kept:]
        self.pointer.copy_((self.pointer + len(keys)) % len(self))
