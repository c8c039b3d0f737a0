"""DenseCL (Wang et al., Dense Contrastive Learning for Self-Supervised Visual Pre-Training, arXiv:2011.09157).

After WXinlong/DenseCL, `openselfsup/models/densecl.py`. It is MoCo v2 with a second loss over places of the feature
map: a place of the query is paired with the place of the key whose encoder features are nearest. lightly's memory bank
is not used: it is missing from checkpoints.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from dbtssl.api import (
    MomentumTeacher,
    PairViews,
    Queue,
    Step,
    feature_std,
    gather,
    pair_views,
    place_width,
    places_and_pooled,
    shuffle,
    split_batchnorm,
    unshuffle,
)
from dbtssl_lightly_zoo.projected import full_precision

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
        exclude_negatives: Literal["none", "volume", "breast", "patient"] = Field(
            default="none",
            description="keys in the queues that are no negatives of a query: those of its own ...",
        )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        dim: int,
        hidden: int,
        temperature: float,
        queue_size: int,
        momentum: float,
        dense_weight: float,
        splits: int,
        exclude_negatives: Literal["none", "volume", "breast", "patient"],
        **views: Any,
    ) -> None:
        super().__init__()
        self.views = pair_views(**views)
        self.query = _Branches(encoder, hidden, dim, self.views[QUERY].crop.shape)
        split_batchnorm(self.query, splits)
        self.key = MomentumTeacher(self.query)
        self.images, self.places = Queue(queue_size, dim), Queue(queue_size, dim)
        self.temperature, self.momentum = temperature, momentum
        self.dense_weight, self.exclude_negatives = dense_weight, exclude_negatives

    def forward(self, batch: Batch) -> Step:
        """The weighted sum of both losses (equation 3); then the queues take the keys in."""
        from lightly.models.utils import select_most_similar

        found, places, image, _ = self.query(batch.views[QUERY])
        with torch.no_grad():
            mixed, order = shuffle(batch.views[KEY])
            key_found, key_places, key, pooled = (unshuffle(x, order) for x in self.key(mixed))
        own = None if self.exclude_negatives == "none" else self._own(batch)
        with full_precision(image):  # bf16 would match other places, where cosines are near-equal
            matched = select_most_similar(found, key_found, key_places)  # B x N x D
            whole = contrast(image[:, None], key[:, None], self.images.keys, self.temperature, own)
            dense = contrast(places, matched, self.places.keys, self.temperature, own)
        ids = [gather(getattr(batch, name)[KEY]) for name in ("volume", "breast", "patient")]
        self.images.enqueue(gather(key), *ids)
        self.places.enqueue(gather(pooled), *ids)
        loss = (1.0 - self.dense_weight) * whole + self.dense_weight * dense
        logs = {"image_loss": whole, "place_loss": dense, "feature_std": feature_std(image)}
        return Step(loss, {name: value.detach() for name, value in logs.items()})

    def after_step(self, progress: float) -> None:
        """Move the key encoder, by a constant momentum."""
        self.key.update(self.query, self.momentum)

    def encoder(self) -> nn.Module:
        """A copy of the query encoder, without the heads; its batch normalisation is whole again."""
        return split_batchnorm(deepcopy(self.query.encoder), 1)

    def _own(self, batch: Batch) -> torch.Tensor:
        """Which keys of the queues come from the query's own volume, breast or patient, ``(B, K)``."""
        ids: torch.Tensor = getattr(self.images, self.exclude_negatives)
        mine: torch.Tensor = getattr(batch, self.exclude_negatives)[QUERY]
        return mine[:, None] == ids[None]


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


def contrast(
    q: torch.Tensor,
    k: torch.Tensor,
    queue: torch.Tensor,
    temperature: float,
    own: torch.Tensor | None = None,
) -> torch.Tensor:
    """InfoNCE of each place against the queue, averaged over places and images (equations 1 and 2); a scalar.

    ``q`` and ``k`` are ``(B, N, D)``, ``queue`` is ``(K, D)``, all of unit length; where ``own`` ``(B, K)`` is true the
    key is no negative.
    """
    positive = (q * k).sum(dim=2, keepdim=True)  # B x N x 1
    negative = q @ queue.clone().T  # B x N x K; the queue changes before the backward pass
    if own is not None:
        negative = negative.masked_fill(own[:, None], -torch.inf)
    logits = torch.cat([positive, negative], dim=2).flatten(0, 1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=q.device))
