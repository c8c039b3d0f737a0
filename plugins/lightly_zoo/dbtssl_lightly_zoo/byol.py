"""BYOL (Grill et al., Bootstrap Your Own Latent, arXiv:2006.07733)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field
from torch import nn

from dbtssl.api import (
    MomentumTeacher,
    PairViews,
    Projected,
    Step,
    cosine_momentum,
    feature_std,
    full_precision,
    one_vector,
    pair_views,
    sync_batchnorm,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from dbtssl.api import Batch


class BYOL(nn.Module):
    """The online network predicts the target's projection of the other view; both directions are added.

    Projector and predictor end without a bias, as in the authors' `byol/utils/networks.py`; lightly's have one.
    """

    class Config(PairViews):
        """Heads and momentum of the paper (section 3.3)."""

        dim: int = Field(default=256, ge=1, description="size of the projected features")
        hidden: int = Field(default=4096, ge=1, description="width of projector and predictor")
        momentum: float = Field(
            default=0.996, ge=0, le=1, description="of the target, at first; a cosine to 1"
        )

    def __init__(self, encoder: nn.Module, config: Config) -> None:
        super().__init__()
        from lightly.loss import NegativeCosineSimilarity

        self.online = Projected(encoder, _mlp(encoder.num_features, config.hidden, config.dim))
        self.target = MomentumTeacher(self.online)
        self.predictor = sync_batchnorm(_mlp(config.dim, config.hidden, config.dim))
        self.negative_cosine = NegativeCosineSimilarity()
        self.config, self.views = config, pair_views(config)

    def forward(self, batch: Batch) -> Step:
        """The squared distance of unit vectors (equation 2), from 0 to 4 in each direction."""
        z0, z1 = (self.online(view) for view in batch.views)
        t0, t1 = (self.target(view) for view in batch.views)
        with full_precision(z0):
            loss = self._distance(z0, t1) + self._distance(z1, t0)
        return Step(loss, {"feature_std": feature_std(z0)})

    def after_step(self, progress: float) -> None:
        """Move the target."""
        self.target.update(self.online, cosine_momentum(self.config.momentum, progress))

    def collapsed(self, means: Mapping[str, float]) -> str:
        """Whether the projections are one vector, in one sentence; empty if not."""
        return one_vector(means["feature_std"], self.config.dim)

    def encoder(self) -> nn.Module:
        """The online encoder without the heads."""
        return self.online.encoder

    def _distance(self, z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        cosine: torch.Tensor = -self.negative_cosine(self.predictor(z), target)
        return 2.0 - 2.0 * cosine


def _mlp(width: Any, hidden: int, dim: int) -> nn.Module:
    from lightly.models.modules.heads import ProjectionHead

    # the authors' first layer has a bias, which batch normalisation takes away again
    first, last = (
        (width, hidden, nn.BatchNorm1d(hidden), nn.ReLU()),
        (hidden, dim, None, None, False),
    )
    head: nn.Module = ProjectionHead([first, last])
    return head
