"""DenseCL (Wang et al., Dense Contrastive Learning for Self-Supervised Visual Pre-Training, arXiv:2011.09157).

After WXinlong/DenseCL, `openselfsup/models/densecl.py`. It is MoCo v2 with a second loss over places of the feature
map: a place of the query is paired with the place of the key whose encoder features are nearest. lightly's memory bank
is not used: it is missing from checkpoints.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from dbtssl.api import (
    ExcludedKeys,
    MomentumTeacher,
    PairViews,
    Queue,
    Step,
    add_keys,
    feature_std,
    full_precision,
    info_nce,
    own_keys,
    pair_views,
    place_width,
    places_and_pooled,
    shuffle,
    split_batchnorm,
    unshuffle,
)

if TYPE_CHECKING:
    from dbtssl.api import Batch

QUERY, KEY = 0, 1


class DenseCL(nn.Module):
    """Momentum contrast of images and of matched places, each against a queue; the second holds pooled places.

    As in the authors' code the raw projections of a key's places are averaged first and brought to unit length once.
    The batch normalisation of ``encoder`` is replaced in place, see `split_batchnorm`.
    """

    class Config(PairViews):
        """Defaults of the reference code."""

        dim: int = Field(default=128, ge=1, description="size of the projected features")
        hidden: int = Field(default=2048, ge=1, description="width of both projection heads")
        temperature: float = Field(default=0.2, gt=0, description="divisor of the cosines")
        queue_size: int = Field(default=65536, ge=1, description="keys kept in each queue")
        momentum: float = Field(default=0.999, ge=0, le=1, description="of the key encoder")
        dense_weight: float = Field(
            default=0.5, ge=0, le=1, description="share of the places in the loss (lambda)"
        )
        splits: int = Field(
            default=4, ge=1, description="parts of a batch with batch statistics of their own"
        )
        exclude_negatives: ExcludedKeys = Field(
            default="none",
            description="keys in the queues that are no negatives of a query: those of its own ...",
        )

    def __init__(self, encoder: nn.Module, config: Config) -> None:
        super().__init__()
        self.config, self.views = config, pair_views(config)
        self.query = _Branches(encoder, config.hidden, config.dim, self.views[QUERY].crop.shape)
        split_batchnorm(self.query, config.splits)
        self.key = MomentumTeacher(self.query)
        self.images = Queue(config.queue_size, config.dim)
        self.places = Queue(config.queue_size, config.dim)

    def forward(self, batch: Batch) -> Step:
        """The weighted sum of both losses (equation 3); then the queues take the keys in."""
        from lightly.models.utils import select_most_similar

        c = self.config
        found, places, image, _ = self.query(batch.views[QUERY])
        with torch.no_grad():
            mixed, order = shuffle(batch.views[KEY])
            key_found, key_places, key, pooled = (unshuffle(x, order) for x in self.key(mixed))
        own = own_keys(self.images, batch, QUERY, c.exclude_negatives)
        with full_precision(image):  # bf16 would match other places, where cosines are near-equal
            matched = select_most_similar(found, key_found, key_places)  # B x N x D
            whole = info_nce(image, key, self.images.keys, c.temperature, own)
            dense = info_nce(places, matched, self.places.keys, c.temperature, own)
        add_keys(self.images, key, batch, KEY)
        add_keys(self.places, pooled, batch, KEY)
        loss = (1.0 - c.dense_weight) * whole + c.dense_weight * dense
        logs = {"image_loss": whole, "place_loss": dense, "feature_std": feature_std(image)}
        return Step(loss, {name: value.detach() for name, value in logs.items()})

    def after_step(self, progress: float) -> None:
        """Move the key encoder, by a constant momentum."""
        self.key.update(self.query, self.config.momentum)

    def encoder(self) -> nn.Module:
        """A copy of the query encoder, without the heads; its batch normalisation is whole again."""
        return split_batchnorm(deepcopy(self.query.encoder), 1)


class _Branches(nn.Module):
    """Encoder with a head for the image and one for its places, initialised as the authors' neck."""

    def __init__(self, encoder: nn.Module, hidden: int, dim: int, shape: tuple[int, int]) -> None:
        super().__init__()
        from lightly.models.modules.heads import DenseCLProjectionHead

        self.encoder = encoder
        self.image = DenseCLProjectionHead(encoder.num_features, hidden, dim)
        self.place = DenseCLProjectionHead(place_width(encoder, shape), hidden, dim)
        for (
            layer
        ) in self.image.modules():  # `necks.py`: linear layers alone, places have torch's own
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Encoder features of places ``(B, N, C)``; unit projections of places ``(B, N, D)``, image and mean place.

        The last, ``(B, D)``, is the mean of the places' raw projections: what the second queue holds of a key.
        """
        found, pooled = places_and_pooled(self.encoder, images)
        with full_precision(found):
            places, image = self.place(found), self.image(pooled)
            units = (F.normalize(x, dim=-1) for x in (places, image, places.mean(dim=1)))
            return found.detach(), *units
