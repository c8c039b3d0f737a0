"""Encoders by name: any timm model, and the backbones that plugins register."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import timm

from dbtssl.config import did_you_mean
from dbtssl.errors import ConfigError
from dbtssl.plugins.registry import registry

if TYPE_CHECKING:
    from torch import nn


def create_encoder(name: str, **args: Any) -> nn.Module:
    """A randomly initialised encoder of one input channel and without a classifier.

    It maps ``(B, 1, S, S)`` to ``(B, encoder.num_features)``. A registered backbone is a function that takes timm's
    keywords ``pretrained``, ``in_chans`` and ``num_classes``. ``args`` go to the model's constructor (``img_size``
    of a transformer, ``base_channels`` of ``cnn7``). An unknown name or argument is a `ConfigError`.
    """
    registered = registry().names("backbone")
    if name in registered:
        build = registry().load("backbone", name)
    elif timm.is_model(name):
        build = partial(timm.create_model, name)
    else:
        raise ConfigError(
            f"unknown backbone {name!r}.{did_you_mean(name, [*registered, *timm.list_models()])}",
            hint="use a timm name (https://huggingface.co/docs/timm) or one of "
            + ", ".join(registered),
        )
    try:
        encoder: nn.Module = build(pretrained=False, in_chans=1, num_classes=0, **args)
    except (TypeError, ValueError, AssertionError) as exc:
        raise ConfigError(
            f"backbone {name!r} cannot be built with {args}: {exc}",
            hint="check the keys of backbone.args against the model's constructor",
        ) from exc
    # a few timm models (MobileNetV3) put a layer between their features and the classifier
    encoder.num_features = getattr(encoder, "head_hidden_size", encoder.num_features)
    return encoder
