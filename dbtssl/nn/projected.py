"""An encoder with its projection head, and full precision for what comes after the encoder.

bf16 rounds a cosine near 1 to a multiple of 1/256, which a temperature of 0.04 turns into steps of 0.1 in the logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from dbtssl.nn.devices.synced_batchnorm import sync_batchnorm

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Projected(nn.Module):
    """``(B, 1, S, S)`` to the head's ``(B, D)``: the encoder in the loop's precision, the head in float32.

    Batch normalisation, of ``encoder`` too, is replaced in place, see `sync_batchnorm`.
    """

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = sync_batchnorm(encoder), sync_batchnorm(head)

    def forward(self, *images: torch.Tensor) -> torch.Tensor:
        """Projections of ``images``, in their order; of several sizes, each goes through the encoder by itself.

        All of them go through the head together, so that its batch statistics are over all (DINO's `MultiCropWrapper`).
        """
        features = torch.cat([self.encoder(x).float() for x in images])
        with full_precision(features):
            z: torch.Tensor = self.head(features)
            return z


def full_precision(x: torch.Tensor) -> AbstractContextManager[object]:
    """No autocast on the device of ``x``."""
    return torch.autocast(x.device.type, enabled=False)
