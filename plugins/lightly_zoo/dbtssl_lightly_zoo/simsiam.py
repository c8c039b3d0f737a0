"""SimSiam (Chen and He, Exploring Simple Siamese Representation Learning, arXiv:2011.10566)."""

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
    one_vector,
    pair_views,
    sync_batchnorm,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtssl.api import Batch


class SimSiam(nn.Module):
    """Each view predicts the other's projection, which gets no gradient.

    The paper keeps the predictor's learning rate constant; here it falls with the others, its baseline (table 1).
    """

    class Config(PairViews):
        """Heads of the paper (section 3, baseline settings)."""

        dim: int = Field(default=2048, ge=1, description="size of the projected features")
        hidden: int = Field(default=2048, ge=1, description="width of the projector")
        bottleneck: int = Field(default=512, ge=1, description="width of the predictor")

    def __init__(self, encoder: nn.Module, config: Config) -> None:
        super().__init__()
        from lightly.loss import NegativeCosineSimilarity
        from lightly.models.modules.heads import SimSiamPredictionHead, SimSiamProjectionHead

        head = SimSiamProjectionHead(encoder.num_features, config.hidden, config.dim)
        self.network = Projected(encoder, head)
        self.predictor = sync_batchnorm(
            SimSiamPredictionHead(config.dim, config.bottleneck, config.dim)
        )
        self.loss = NegativeCosineSimilarity()
        self.config, self.views = config, pair_views(config)

    def forward(self, batch: Batch) -> Step:
        """The mean of both directions (equation 4), from -1 to 1."""
        z0, z1 = (self.network(view) for view in batch.views)
        with full_precision(z0):
            p0, p1 = self.predictor(z0), self.predictor(z1)
            loss = (self.loss(p0, z1.detach()) + self.loss(p1, z0.detach())) / 2.0
        return Step(loss, {"feature_std": feature_std(z0)})

    def after_step(self, progress: float) -> None:
        """Nothing follows the step."""

    def collapsed(self, means: Mapping[str, float]) -> str:
        """Whether the projections are one vector, in one sentence; empty if not."""
        return one_vector(means["feature_std"], self.config.dim)

    def encoder(self) -> nn.Module:
        """The encoder without the heads."""
        return self.network.encoder
