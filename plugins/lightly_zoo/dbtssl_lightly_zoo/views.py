"""The views of all objectives here: a pair of crops (`PairViews`), or multi-crop, with the same settings and names.

The augmentation is MoCo v2's on one channel in every objective, so that rows differ in their objective. What the papers
have besides is left out: solarisation (BYOL, Barlow Twins, VICReg, DINO) would turn tissue into air.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field

from dbtssl.api import ConfigError, PairViews, Shares, ViewSpec, pair_views

if TYPE_CHECKING:
    from torch import nn


class MultiCropConfig(PairViews):
    """Two global crops, one of the anchor and one of its positive, and local ones (DINO, section 3.1).

    Sizes and shares are DINO's, the number of local crops LeJEPA's; each says where its own differ.
    """

    crop_scale: Shares = Field(
        default=(0.4, 1.0), description="share of the crop box's area in a global crop"
    )
    local_views: int = Field(
        default=6, ge=0, le=32, description="local crops, of anchor and positive in turn"
    )
    local_size: int = Field(default=96, ge=8, description="pixels of a local view")
    local_scale: Shares = Field(
        default=(0.05, 0.4), description="share of the crop box's area in a local crop"
    )


def multi_crop(config: MultiCropConfig) -> tuple[ViewSpec, ...]:
    """Views 0 and 1 are the global ones of `pair_views`, the others local."""
    whole = pair_views(config)
    local = replace(whole[0].crop, size=config.local_size, scale=config.local_scale)
    sources: tuple[Literal["anchor", "positive"], ...] = ("anchor", "positive")
    small = (
        ViewSpec(sources[i % 2], local, whole[0].photometry) for i in range(config.local_views)
    )
    return (*whole, *small)


def by_size(views: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """Views ``(B, 1, rows, columns)`` that follow each other and are of one size as one batch, in their order."""
    return [torch.cat(list(same)) for _, same in groupby(views, key=lambda x: x.shape[-2:])]


def check_sizes(encoder: nn.Module, views: tuple[ViewSpec, ...]) -> None:
    """Refuse views of several sizes for a transformer that takes one size alone."""
    embed = getattr(encoder, "patch_embed", None)
    sizes = sorted({view.crop.size for view in views})
    if getattr(embed, "strict_img_size", False) and len(sizes) > 1:
        raise ConfigError(
            f"views of {' and '.join(map(str, sizes))} pixels, but the encoder takes one size alone",
            hint="set backbone.args = { dynamic_img_size = true }, or local_size to crop_size",
        )
