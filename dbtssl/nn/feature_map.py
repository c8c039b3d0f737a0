"""The last feature map of any timm encoder as a set of places."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dbtssl.errors import ConfigError


def places_and_pooled(encoder: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Features of ``N`` places ``(B, N, C)`` and of the image ``(B, num_features)``, float32.

    Maps may be ``(B, C, h, w)`` or, where timm's ``output_fmt`` says NHWC, ``(B, h, w, C)``; of a transformer's tokens
    ``(B, prefix + N, C)`` the prefix (class token, registers) is no place. Raises `ConfigError` for an encoder without.
    """
    network: Any = encoder
    if not hasattr(encoder, "forward_features") or not hasattr(encoder, "forward_head"):
        raise ConfigError(
            f"{type(encoder).__name__} gives no feature map: it has no forward_features and forward_head",
            hint="use a backbone of timm, or cnn7",
        )
    x = network.forward_features(images)
    pooled = network.forward_head(x, pre_logits=False)
    if x.ndim == 3:
        places = x[:, getattr(encoder, "num_prefix_tokens", 0) :]
    elif getattr(encoder, "output_fmt", "NCHW") == "NHWC":
        places = x.flatten(1, 2)
    else:
        places = x.flatten(2).transpose(1, 2)
    return places.float(), pooled.float()


@torch.no_grad()
def place_width(encoder: nn.Module, shape: tuple[int, int]) -> int:
    """Channels ``C`` of the feature map of images of ``shape`` pixels; the encoder is left as it was."""
    training = encoder.training
    places, _ = places_and_pooled(encoder.eval(), torch.zeros(1, 1, *shape))
    encoder.train(training)
    return places.shape[-1]
