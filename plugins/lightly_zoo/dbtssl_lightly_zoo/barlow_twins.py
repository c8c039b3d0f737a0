"""Barlow Twins (Zbontar et al., Self-Supervised Learning via Redundancy Reduction, arXiv:2103.03230)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field
from torch import nn

from dbtssl.api import (
    PairViews,
    Projected,
    Step,
    feature_std,
    full_precision,
    gather_with_gradient,
    pair_views,
)

if TYPE_CHECKING:
    from dbtssl.api import Batch


class BarlowTwins(nn.Module):
    """The cross-correlation matrix of the two views' features is drawn to the identity (equation 1).

    Features are standardised over the images of all devices, as by the authors' synchronised batch normalisation. Their
    gradient on R devices is 1 / R of that on one (`main.py` sums the matrices without gradients, DDP takes the mean);
    ours is that on one.
    """

    class Config(PairViews):
        """Head and weight of the paper (section 2.2)."""

        dim: int = Field(default=8192, ge=2, description="size of the projected features")
        hidden: int = Field(default=8192, ge=1, description="width of the projection head")
        redundancy: float = Field(
            default=5e-3,
            ge=0,
            description="weight of the off-diagonal elements (the paper's lambda)",
        )

    def __init__(self, encoder: nn.Module, config: Config) -> None:
        super().__init__()
        from lightly.loss import BarlowTwinsLoss
        from lightly.models.modules.heads import BarlowTwinsProjectionHead

        head = BarlowTwinsProjectionHead(encoder.num_features, config.hidden, config.dim)
        self.network = Projected(encoder, head)
        self.loss = BarlowTwinsLoss(config.redundancy)
        self.views = pair_views(config)

    def forward(self, batch: Batch) -> Step:
        """The sum over the matrix, not scaled by its size."""
        z0, z1 = (self.network(view) for view in batch.views)
        with full_precision(z0):
            loss = self.loss(gather_with_gradient(z0), gather_with_gradient(z1))
        return Step(loss, {"feature_std": feature_std(z0)})

    def after_step(self, progress: float) -> None:
        """Nothing follows the step."""

    def encoder(self) -> nn.Module:
        """The encoder without the head."""
        return self.network.encoder
