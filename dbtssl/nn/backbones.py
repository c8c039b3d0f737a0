"""Encoders by name: any timm model, and the backbones that plugins register."""

from __future__ import annotations

from functools import partial
from typing import Any

import timm
from torch import nn

from dbtssl.config import did_you_mean
from dbtssl.errors import ConfigError, DbtsslError, PluginError
from dbtssl.interfaces.boundary import TRACE, described
from dbtssl.plugins.registry import registry


def create_encoder(name: str, **args: Any) -> nn.Module:
    """A randomly initialised encoder of one input channel and without a classifier.

    It maps ``(B, 1, S, S)`` to ``(B, encoder.num_features)``. A registered backbone is a function that takes timm's
    keywords ``pretrained``, ``in_chans`` and ``num_classes``. ``args`` go to the model's constructor (``img_size``
    of a transformer, ``base_channels`` of ``cnn7``). An unknown name or argument is a `ConfigError`.
    """
    registered = registry().names("backbone")
    who = f"backbone {name!r}"
    if name in registered:
        build = registry().load("backbone", name)
        who = str(registry().component("backbone", name))
    elif timm.is_model(name):
        build = partial(timm.create_model, name)
    else:
        raise ConfigError(
            f"unknown backbone {name!r}.{did_you_mean(name, [*registered, *timm.list_models()])}",
            hint="use a timm name (https://huggingface.co/docs/timm) or one of "
            + ", ".join(registered),
        )
    try:
        encoder: Any = build(pretrained=False, in_chans=1, num_classes=0, **args)
    except (TypeError, ValueError, AssertionError) as exc:
        raise ConfigError(
            f"backbone {name!r} cannot be built with {args}: {exc}",
            hint="check the keys of backbone.args against the model's constructor",
        ) from exc
    except DbtsslError:
        raise
    except (Exception, SystemExit) as exc:
        raise PluginError(
            f"{who} cannot be built with {args}: {type(exc).__name__}: {exc}", hint=TRACE
        ) from exc
    if not isinstance(encoder, nn.Module):
        raise PluginError(
            f"{who} returned {described(encoder)}, expected a network (torch.nn.Module)",
            hint="return the network at the end of the function",
        )
    width = getattr(encoder, "head_hidden_size", None) or getattr(encoder, "num_features", None)
    if not isinstance(width, int) or width < 1:
        raise PluginError(
            f"{who} returned {type(encoder).__name__} whose num_features is {width!r}, expected a whole number",
            hint="set network.num_features to the width of what it gives for an image",
        )
    # a few timm models (MobileNetV3) put a layer between their features and the classifier
    network: Any = encoder
    network.num_features = width
    return encoder
