"""The mean of two classifiers' logits, each standardised on validation patches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


class Average(nn.Module):
    """``(B, 1, S, S)`` to ``(B,)``: the mean of ``(logit - mean) / SD`` over both parts."""

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList([first, second])
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("spread", torch.ones(2))

    def take(
        self, first: nn.Module, second: nn.Module, logits: Sequence[NDArray[np.float32]]
    ) -> None:
        """Take the weights of both parts over, and mean and SD of their validation logits; an SD of 0 counts as 1."""
        for part, new in zip(self.parts, (first, second), strict=True):
            part.load_state_dict(new.state_dict())
        values = [torch.as_tensor(x, dtype=torch.float64).flatten() for x in logits]
        self.mean.copy_(torch.stack([x.mean() for x in values]))
        spread = torch.stack([x.std(correction=0) for x in values])
        self.spread.copy_(torch.where(spread > 0, spread, 1.0))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Logits of ``patches`` on a common scale, in SDs."""
        logits = torch.stack([part(patches) for part in self.parts], dim=1)  # B x 2
        return ((logits - self.mean) / self.spread).mean(dim=1)
