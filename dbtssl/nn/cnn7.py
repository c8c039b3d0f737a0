"""The 7-layer CNN of SIFT-DBT (section 3.1; released code, `models/simple_cnn.py`), registered with timm as ``cnn7``.

Seven 3 x 3 convolutions of stride 1, each with batch normalisation and ReLU, in five stages; max pooling halves the
image after the first four. One thing differs from the released code: its forward ends in ``log_softmax`` even
where the classifier is taken off, so that self-supervised heads there see log-probabilities over the 256 pooled
features. Here they see the features. Under cross-entropy both are the same, since ``log_softmax`` is idempotent.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from dbtssl.errors import ConfigError

BASE_CHANNELS = 32  # released code, `main_cls.py:285`
MIN_SIZE = 64  # pixels: two convolutions have no padding, and a smaller image has nothing left for the last one


class CNN7(nn.Module):
    """``(B, in_chans, S, S)`` to ``(B, 8 * base_channels)``, or to ``(B, num_classes)`` logits; ``S`` >= 64."""

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        base_channels: int = BASE_CHANNELS,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        c = base_channels
        self.num_features = self.head_hidden_size = 8 * c
        self.layer1 = nn.Sequential(*_conv(in_chans, c), nn.MaxPool2d(2))
        self.layer2 = nn.Sequential(*_conv(c, 2 * c), *_conv(2 * c, 2 * c), nn.MaxPool2d(2))
        self.layer3 = nn.Sequential(*_conv(2 * c, 4 * c), nn.MaxPool2d(2))
        self.layer4 = nn.Sequential(*_conv(4 * c, 4 * c, padding=0), nn.MaxPool2d(2))
        self.layer5 = nn.Sequential(*_conv(4 * c, 8 * c, padding=0), *_conv(8 * c, 8 * c))
        self.reset_classifier(num_classes, global_pool)

    def reset_classifier(self, num_classes: int, global_pool: str = "avg") -> None:
        """Put a new classifier on; none if ``num_classes`` is 0. Only average pooling is known."""
        if global_pool != "avg":
            raise ConfigError(f"cnn7: got global_pool {global_pool!r}, expected 'avg'")
        self.num_classes, self.global_pool = num_classes, global_pool
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def get_classifier(self) -> nn.Module:
        """The last layer."""
        return self.fc

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Patterns of timm's parameter groups; the five stages, whether coarse or not."""
        return {"stem": r"^layer1", "blocks": r"^layer(\d+)"}

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """The last feature map, ``(B, num_features, s, s)`` with ``s = (S // 8 - 2) // 2 - 2``."""
        if min(x.shape[-2:]) < MIN_SIZE:
            raise ConfigError(
                f"cnn7: got images of {x.shape[-2]} x {x.shape[-1]} pixels, expected {MIN_SIZE} or more",
                hint="raise the crop or patch size, or use another backbone",
            )
        x = self.layer3(self.layer2(self.layer1(x)))
        out: torch.Tensor = self.layer5(self.layer4(x))
        return out

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Average over the map, then the classifier unless ``pre_logits``."""
        x = x.mean(dim=(2, 3))  # B x num_features
        return x if pre_logits else self.fc(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features, or logits if there is a classifier."""
        return self.forward_head(self.forward_features(x))


def _conv(inputs: int, outputs: int, padding: int = 1) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=padding),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


default_cfgs = generate_default_cfgs(
    {"cnn7.untrained": {"first_conv": "layer1.0", "classifier": "fc", "input_size": (3, 448, 448)}}
)


def cnn7(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """The paper's 7-layer CNN; ``base_channels`` scales its width."""
    model: nn.Module = build_model_with_cfg(CNN7, "cnn7", pretrained, **kwargs)
    return model


register_model(cnn7)
