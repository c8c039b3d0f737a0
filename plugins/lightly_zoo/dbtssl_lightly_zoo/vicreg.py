"""VICReg (Bardes, Ponce, LeCun: Variance-Invariance-Covariance Regularization, arXiv:2105.04906)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field
from torch import nn

from dbtssl.api import PairViews, Projected, Step, feature_std, full_precision, pair_views

if TYPE_CHECKING:
    from dbtssl.api import Batch


class VICReg(nn.Module):
    """Views are drawn together, each feature is kept at a standard deviation of 1 or more, and features apart."""

    class Config(PairViews):
        """Head and weights of the paper (section 4.2)."""

        dim: int = Field(default=8192, ge=2, description="size of the projected features")
        hidden: int = Field(default=8192, ge=1, description="width of the projection head")
        invariance: float = Field(default=25.0, ge=0, description="weight of the mean square error")
        variance: float = Field(default=25.0, ge=0, description="weight of the hinge on the spread")
        covariance: float = Field(default=1.0, ge=0, description="weight of the covariances")

    def __init__(self, encoder: nn.Module, config: Config) -> None:
        super().__init__()
        from lightly.loss import VICRegLoss
        from lightly.models.modules.heads import VICRegProjectionHead

        head = VICRegProjectionHead(encoder.num_features, config.hidden, config.dim)
        self.network = Projected(encoder, head)
        self.loss = VICRegLoss(
            config.invariance, config.variance, config.covariance, gather_distributed=True
        )
        self.views = pair_views(config)

    def forward(self, batch: Batch) -> Step:
        """The weighted sum of the three terms (equation 6)."""
        z0, z1 = (self.network(view) for view in batch.views)
        with full_precision(z0):
            loss = self.loss(z0, z1)
        return Step(loss, {"feature_std": feature_std(z0)})

    def after_step(self, progress: float) -> None:
        """Nothing follows the step."""

    def encoder(self) -> nn.Module:
        """The encoder without the head."""
        return self.network.encoder
