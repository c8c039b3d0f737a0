"""The encoder that a pretraining keeps: does it fit the backbone, is it finite, and did its weights move?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dbtssl.interfaces.boundary import calling, described, refused
from dbtssl.nn.weights import misfit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtssl.interfaces import Objective
    from dbtssl.nn.weights import State

STILL = 1e-5
"""Relative change below which a tensor was not trained. Rounding of weight decay alone, which scales a tensor, is
below it; one step at a learning rate of 1e-4 is above."""
FIT_HINT = "encoder() must return the network that the objective was built with, or a copy of it, without heads"


def kept_encoder(objective: Objective, backbone: State, when: str) -> nn.Module:
    """What ``encoder()`` gives; `PluginError` unless its weights have the names and shapes of ``backbone``."""
    with calling("objective", f"encoder() {when}"):
        encoder: Any = objective.encoder()
    if not isinstance(encoder, nn.Module):
        raise refused(
            "objective",
            f"encoder() returned {described(encoder)}, expected a network ({when})",
            FIT_HINT,
        )
    if wrong := misfit(backbone, encoder.state_dict()):
        raise refused(
            "objective",
            f"encoder() returned {type(encoder).__name__}, which does not fit the backbone: {wrong}",
            FIT_HINT,
        )
    return encoder


def refuse_not_finite(encoder: nn.Module) -> None:
    """`PluginError` where a weight that is kept is no finite number."""
    bad = [name for name, p in encoder.state_dict().items() if not bool(torch.isfinite(p).all())]
    if bad:
        raise refused(
            "objective",
            f"{len(bad)} tensors of the encoder are not finite after the last step, {bad[0]} among them",
            "lower pretrain.lr or add pretrain.warmup_epochs",
        )


def unmoved(encoder: nn.Module, before: Mapping[str, torch.Tensor], epochs: int) -> str:
    """A sentence where no parameter was trained, else empty; ``before`` are the weights that training began with.

    Weight decay alone, which only scales a parameter, is no training. Running statistics of normalisation layers do not
    count: a forward pass moves them.
    """
    parameters = dict(encoder.named_parameters())
    if not parameters or any(_turned(before[name], p) for name, p in parameters.items()):
        return ""
    return (
        f"{epochs} epochs of pretraining moved no weight of the encoder, so that this row shows the weights that it "
        "began with: the loss may not reach the encoder, encoder() may return a copy that is not trained, or "
        "after_step() may not move its teacher"
    )


def _turned(before: torch.Tensor, after: torch.Tensor) -> bool:
    """Whether a parameter is more than a multiple of what it was; one of a single number cannot tell."""
    if before.numel() < 2 and before.numel() != 0:
        return False
    a, b = before.detach().double().flatten().cpu(), after.detach().double().flatten().cpu()
    size = float(a @ a)
    scale = float(a @ b) / size if size else 0.0
    if size and scale < 0:
        return True
    rest = float((b - scale * a).norm())
    return rest > STILL * max(float(a.norm()), STILL)
