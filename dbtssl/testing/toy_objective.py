"""A small encoder and random batches, to try any objective on in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dbtssl.config import config_class
from dbtssl.interfaces import Batch
from dbtssl.nn.backbones import create_encoder
from dbtssl.plugins.registry import registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtssl.interfaces import Objective


class ToyEncoder(nn.Module):
    """``(B, 1, S, S)`` to ``(B, 10)``: two convolutions with batch normalisation, in timm's two halves of a forward."""

    num_features = 10

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm = nn.Conv2d(1, 6, 3, stride=2), nn.BatchNorm2d(6)
        self.two = nn.Conv2d(6, 10, 3, stride=2)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """The last feature map, ``(B, 10, s, s)``."""
        features: torch.Tensor = self.two(self.norm(self.one(x)).relu()).relu()
        return features

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """The mean over the map; there is no classifier."""
        return x.mean(dim=(2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The features."""
        return self.forward_head(self.forward_features(x))


def toy_objective(
    name: str,
    fields: Mapping[str, Any],
    *,
    seed: int = 0,
    encoder: nn.Module | None = None,
    backbone: tuple[str, Mapping[str, Any]] | None = None,
) -> Objective:
    """The registered objective ``name`` with ``fields`` of its Config, the others at their defaults.

    ``seed`` decides its weights. Without an ``encoder`` it gets a `ToyEncoder`, or the ``backbone`` of that name with
    these arguments.
    """
    config = config_class(registry().load("objective", name))(**fields)
    torch.manual_seed(seed)
    if encoder is None:
        encoder = ToyEncoder() if backbone is None else create_encoder(backbone[0], **backbone[1])
    objective: Objective = registry().build("objective", name, config, encoder)
    return objective


def toy_batch(objective: Objective, n: int = 8, seed: int = 0) -> Batch:
    """``n`` rows of random images of the sizes that ``objective`` asks for; two rows a breast, four a patient.

    Rows are of slices 0 to 2, positives one slice on; a slice is as high as 128 pixels of a view.
    """
    generator = torch.Generator().manual_seed(seed)
    shapes = [view.crop.shape for view in objective.views]
    views = tuple(torch.rand(n, 1, *shape, generator=generator) for shape in shapes)
    tissue = tuple(torch.ones_like(view, dtype=torch.bool) for view in views)
    ids = torch.arange(n)
    pixel = torch.full((n, 2), 1 / 128)
    volume, breast, patient = ((x,) * len(views) for x in (ids, ids // 2, ids // 4))
    return Batch(
        views,
        tissue,
        volume,
        breast,
        patient,
        seeds=tuple(ids + n * v for v in range(len(views))),
        z=tuple((ids + (view.of == "positive")) % 3 for view in objective.views),
        pixel=(pixel,) * len(views),
    )
