"""Encoder and heads of student and teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dbtssl.api import ConfigError, full_precision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtssl.api import ViewSpec


@dataclass(frozen=True)
class Features:
    """What the encoder makes of ``N`` images, in float32: ``image`` ``(N, C)`` and ``patches`` ``(N, h * w, C)``."""

    image: torch.Tensor
    patches: torch.Tensor


class Network(nn.Module):
    """A vision transformer and heads by name; all of it is copied into the teacher.

    The image's features are what the encoder itself gives, which is its class token unless it pools otherwise, so that
    what is trained is what fine-tuning reads. The encoder runs in the loop's precision, the heads in float32.
    """

    def __init__(self, encoder: Any, heads: dict[str, nn.Module]) -> None:
        super().__init__()
        self.encoder = encoder
        self.mask_token = nn.Parameter(torch.zeros(encoder.embed_dim))
        self.heads = nn.ModuleDict(heads)

    def forward(self, images: torch.Tensor, mask: torch.Tensor | None = None) -> Features:
        """Features of ``images``; ``mask`` ``(N, h, w)`` hides patches."""
        vit = self.encoder
        if mask is None:
            patch = patch_size(vit)
            grid = (side // p for side, p in zip(images.shape[-2:], patch, strict=True))
            mask = torch.zeros(len(images), *grid, dtype=torch.bool, device=images.device)
        x = tokens(vit, images, mask, self.mask_token)
        image = vit.forward_head(x, pre_logits=True)
        return Features(image.float(), x[:, vit.num_prefix_tokens :].float())

    def project(self, head: str, features: torch.Tensor) -> torch.Tensor:
        """Outputs of a head for ``features`` ``(N, C)``; none of them need be there."""
        with full_precision(features):
            out: torch.Tensor = self.heads[head](features)
            return out


def contrast_head(width: int, dim: int) -> nn.Module:
    """MoCo v2's head, lightly's: two layers."""
    from lightly.models.modules.heads import MoCoProjectionHead

    head: nn.Module = MoCoProjectionHead(width, width, dim)
    return head


def prepare(encoder: nn.Module) -> Any:
    """``encoder``, set in place to take images of any size whose sides are multiples of its patch.

    This is what timm's ``dynamic_img_size=True`` does: the positional embedding is interpolated to the grid. No weight
    is changed. Raises `ConfigError` for an encoder that is no plain vision transformer of timm.
    """
    from timm.layers import PatchEmbed
    from timm.layers.format import Format
    from timm.models.vision_transformer import VisionTransformer

    if not isinstance(encoder, VisionTransformer) or not isinstance(
        encoder.patch_embed, PatchEmbed
    ):
        raise ConfigError(
            f"objective mammodino masks patches and needs a vision transformer, got {type(encoder).__name__}",
            hint='for this row alone: [method.mammodino] backbone = { name = "vit_tiny_patch16_224", '
            "args = { img_size = 64, patch_size = 8 } }, or another VisionTransformer of timm",
        )
    if not isinstance(encoder.patch_drop, nn.Identity):
        raise ConfigError(
            "objective mammodino masks patches itself, and this encoder drops some",
            hint="remove patch_drop_rate from backbone.args",
        )
    embed: Any = encoder.patch_embed
    encoder.dynamic_img_size = True
    embed.strict_img_size, embed.flatten, embed.output_fmt = False, False, Format.NHWC
    return encoder


def patch_size(vit: Any) -> tuple[int, int]:
    """Rows and columns of a patch in pixels."""
    rows, columns = vit.patch_embed.patch_size
    return int(rows), int(columns)


def check_shapes(vit: Any, views: Sequence[ViewSpec]) -> None:
    """Refuse views that cannot be cut into whole patches."""
    patch = patch_size(vit)
    for shape in {view.crop.shape for view in views}:
        if any(side % p for side, p in zip(shape, patch, strict=True)):
            raise ConfigError(
                f"views of {shape[0]} x {shape[1]} pixels cannot be cut into patches of {patch[0]} x {patch[1]}",
                hint="make crop_size and local_size multiples of the patch, or set patch_size in backbone.args",
            )


def tokens(vit: Any, images: torch.Tensor, mask: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
    """The last layer's tokens ``(B, prefix + h * w, C)`` of ``images`` ``(B, 1, rows, columns)``.

    Where ``mask`` ``(B, h, w)`` is true ``token`` ``(C,)`` stands for the patch, before the positional embedding, as in
    DINOv2 (`dinov2/models/vision_transformer.py`). Like timm's ``forward_features`` but for the mask.
    """
    x = vit.patch_embed(images)  # B x h x w x C
    x = torch.where(mask[..., None], token.to(x.dtype), x)
    out: torch.Tensor = vit.norm(vit.blocks(vit.norm_pre(vit._pos_embed(x))))
    return out
