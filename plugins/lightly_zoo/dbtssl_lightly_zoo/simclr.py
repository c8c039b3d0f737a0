"""SimCLR (Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, arXiv:2002.05709)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import nn

from dbtssl.api import PairViews, Projected, Step, feature_std, full_precision, pair_views

if TYPE_CHECKING:
    from dbtssl.api import Batch


class SimCLR(nn.Module):
    """NT-Xent over anchors and positives, with all other rows of the batch, of every device, as negatives.

    Slices of one volume, breast or patient are negatives of each other where a batch has several.
    """

    class Config(PairViews):
        """Head and temperature of the paper (section 2.1 and table 5)."""

        dim: int = Field(default=128, ge=1, description="size of the projected features")
        hidden: int = Field(default=2048, ge=1, description="width of the projection head")
        temperature: float = Field(default=0.1, ge=1e-4, description="divisor of the cosines")

    def __init__(self, encoder: nn.Module, config: Config) -> None:
        super().__init__()
        from lightly.loss import NTXentLoss
        from lightly.models.modules.heads import SimCLRProjectionHead

        head = SimCLRProjectionHead(encoder.num_features, config.hidden, config.dim)
        self.network = Projected(encoder, head)
        self.loss = NTXentLoss(config.temperature, gather_distributed=True)
        self.views = pair_views(config)

    def forward(self, batch: Batch) -> Step:
        """Both views go through the network as one batch, as in the authors' code."""
        z = self.network(torch.cat(batch.views))  # 2B x D
        with full_precision(z):
            loss = self.loss(*z.chunk(2))
        return Step(loss, {"feature_std": feature_std(z)})

    def after_step(self, progress: float) -> None:
        """Nothing follows the step."""

    def encoder(self) -> nn.Module:
        """The encoder without the head."""
        return self.network.encoder
