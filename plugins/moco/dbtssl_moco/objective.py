"""MoCo v2 (Chen et al., 2020) on one channel: InfoNCE against a queue of keys from a momentum encoder.

After facebookresearch/moco at 7397dfe1, `moco/builder.py`. What belongs to ImageNet is left out: hue, saturation and
the turn to grey do nothing to one channel, and there are no channel means to subtract.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from dbtssl.api import (
    Batch,
    ExcludedKeys,
    MomentumTeacher,
    PairViews,
    Queue,
    Step,
    add_keys,
    cosine_momentum,
    feature_std,
    info_nce,
    one_vector,
    own_keys,
    pair_views,
    shuffle,
    split_batchnorm,
    unshuffle,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

QUERY, KEY = 0, 1


class MoCoV2(nn.Module):
    """Query and key encoders, projection heads and queue; the loss is asymmetric, one query and one key a pair.

    The batch normalisation of ``encoder`` is replaced in place, see `split_batchnorm`. The views are the anchor (query)
    and its positive (key).
    """

    class Config(PairViews):
        """The defaults are the reference's ImageNet settings, those of `PairViews` too."""

        dim: int = Field(default=128, ge=1, description="size of the projected features")
        hidden: int | None = Field(
            default=None, ge=1, description="width of the projection head; none means the encoder's"
        )
        temperature: float = Field(default=0.2, gt=0, description="divisor of the cosines")
        queue_size: int = Field(
            default=65536,
            ge=1,
            description="keys kept; it may hold more than an epoch has: random vectors until it is full, "
            "then keys of earlier epochs as well",
        )
        momentum: float = Field(
            default=0.999, ge=0, le=1, description="of the key encoder, at first"
        )
        momentum_schedule: Literal["constant", "cosine"] = Field(
            default="constant", description="cosine rises to 1 at the end of training"
        )
        splits: int = Field(
            default=4,
            ge=1,
            description="parts of a batch, over all devices, with batch statistics of their own (MoCo: one a GPU)",
        )
        exclude_negatives: ExcludedKeys = Field(
            default="none",
            description="keys in the queue that are no negatives of a query: those of its own ...",
        )

    def __init__(self, encoder: nn.Module, config: Config) -> None:
        super().__init__()
        from lightly.models.modules.heads import MoCoProjectionHead  # loads timm and torchvision

        self.config = config
        width: Any = encoder.num_features
        head = MoCoProjectionHead(width, config.hidden or width, config.dim)
        self.query = nn.Sequential(split_batchnorm(encoder, config.splits), head)
        self.key = MomentumTeacher(self.query)
        self.queue = Queue(config.queue_size, config.dim)
        self.views = pair_views(config)

    def forward(self, batch: Batch) -> Step:
        """InfoNCE of the queries against their keys and the queue, which then takes the keys in."""
        c = self.config
        q = F.normalize(self.query(batch.views[QUERY]).float(), dim=1)  # B x D
        k = self._keys(batch.views[KEY])
        own = own_keys(self.queue, batch, QUERY, c.exclude_negatives)
        loss = info_nce(q, k, self.queue.keys, c.temperature, own)
        add_keys(self.queue, k, batch, KEY)
        return Step(loss, {"feature_std": feature_std(q)})

    def after_step(self, progress: float) -> None:
        """Move the key encoder, which is what the reference does first thing in the next step."""
        self.key.update(self.query, self.momentum_at(progress))

    def momentum_at(self, progress: float) -> float:
        """The key encoder's momentum; ``progress`` runs from 0 to 1."""
        if self.config.momentum_schedule == "constant":
            return self.config.momentum
        return cosine_momentum(self.config.momentum, progress)

    def collapsed(self, means: Mapping[str, float]) -> str:
        """Whether the queries are one vector, in one sentence; empty if not."""
        return one_vector(means["feature_std"], self.config.dim)

    def encoder(self) -> nn.Module:
        """A copy of the query encoder, without the head; its batch normalisation is whole again."""
        return split_batchnorm(deepcopy(self.query[0]), 1)

    @torch.no_grad()
    def _keys(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised keys ``(B, D)``, computed in a shuffled order so that no key shares its query's statistics."""
        shuffled, order = shuffle(images)
        return unshuffle(F.normalize(self.key(shuffled).float(), dim=1), order)
