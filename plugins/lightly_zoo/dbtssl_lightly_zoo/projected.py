"""An encoder with its projection head, full precision for what comes after the encoder, and the batch of all devices.

bf16 rounds a cosine near 1 to a multiple of 1/256, which a temperature of 0.04 turns into steps of 0.1 in the logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from dbtssl.api import world_size

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Projected(nn.Module):
    """``(B, 1, S, S)`` to the head's ``(B, D)``: the encoder in the loop's precision, the head in float32."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Projections of ``images``."""
        features: torch.Tensor = self.encoder(images).float()
        with full_precision(features):
            z: torch.Tensor = self.head(features)
            return z


def of_all_devices(z: torch.Tensor) -> torch.Tensor:
    """``(B, D)`` of every device, concatenated in the order of ranks, with gradients; ``z`` itself on one device.

    Each device then computes the loss of the whole batch, and the mean of the devices' gradients, which DDP takes, is
    its gradient.
    """
    if world_size() == 1:
        return z
    from lightly.utils.dist import gather

    return torch.cat(gather(z))


def full_precision(x: torch.Tensor) -> AbstractContextManager[object]:
    """No autocast on the device of ``x``."""
    return torch.autocast(x.device.type, enabled=False)
