"""Encoder and heads of student and teacher."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from dbtssl_lightly_zoo.projected import full_precision
from torch import nn

from dbtssl_mammodino.vit import patch_size, tokens


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


def prototype_head(
    width: int, hidden: int, bottleneck: int, prototypes: int, norm_last_layer: bool
) -> nn.Module:
    """DINO's head, lightly's: three layers, a unit bottleneck, weight-normalised prototypes."""
    from lightly.models.modules.heads import DINOProjectionHead

    # made without gradients, the weight-normalised layer can be copied into a teacher
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*weight_norm", FutureWarning)
        head: nn.Module = DINOProjectionHead(
            width, hidden, bottleneck, prototypes, norm_last_layer=norm_last_layer
        )
    return head


def contrast_head(width: int, dim: int) -> nn.Module:
    """MoCo v2's head, lightly's: two layers."""
    from lightly.models.modules.heads import MoCoProjectionHead

    head: nn.Module = MoCoProjectionHead(width, width, dim)
    return head
