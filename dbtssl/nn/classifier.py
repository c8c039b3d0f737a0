"""A patch classifier: an encoder and one linear logit."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn.utils import skip_init

HEAD_STD = (
    0.01  # weights of a new linear head: N(0, 0.01), bias 0 (MoCo and SIFT-DBT, linear evaluation)
)


class PatchClassifier(nn.Module):
    """``(B, 1, S, S)`` in [0, 1] to ``(B,)`` logits of *abnormal*.

    ``encoder`` maps to ``(B, encoder.num_features)``; ``seed`` decides the new head's weights. One logit trained with
    binary cross-entropy is the paper's two-class softmax with cross-entropy: the logit is the difference of the two.
    ``init`` is ``small``, N(0, 0.01) and bias 0, or ``torch``, the difference of two outputs of a new `nn.Linear`.
    Only the parametrisation differs (at equal learning rates the difference of two trained logits moves twice as far).
    """

    def __init__(
        self, encoder: nn.Module, *, seed: int = 0, init: Literal["small", "torch"] = "small"
    ) -> None:
        super().__init__()
        self.encoder = encoder
        # unlike nn.Linear itself, this draws no number from the global random state
        self.head = skip_init(nn.Linear, encoder.num_features, 1)  # type: ignore[no-untyped-call]
        generator = torch.Generator().manual_seed(seed)
        if init == "torch":
            for parameter in self.head.parameters():
                bound = self.head.in_features**-0.5
                two = torch.empty(2, *parameter.shape).uniform_(-bound, bound, generator=generator)
                parameter.data.copy_(two[1] - two[0])
            return
        nn.init.normal_(self.head.weight, std=HEAD_STD, generator=generator)
        nn.init.zeros_(self.head.bias)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Logits of ``patches``, shape ``(B,)``."""
        logits: torch.Tensor = self.head(self.encoder(patches))  # B x 1
        return logits.squeeze(1)
