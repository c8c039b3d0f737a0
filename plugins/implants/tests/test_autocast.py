"""Crops under autocast are those without it, to the last bit: what is read from where is no matter of precision."""

from __future__ import annotations

import pytest
import torch

from dbtssl.api import Batch
from dbtssl.testing.toy_objective import toy_batch

from .conftest import build

ALL = {"decoys": 0.5, "stretched": 0.5, "easy": 3.0}


def in_bf16(objective, batch):
    with torch.autocast("cpu", torch.bfloat16):
        return objective(batch)


def seen(objective, batch, forward):
    """The images that the encoder gets, and the step."""
    shown = []
    hook = objective.network.one.register_forward_pre_hook(lambda _, x: shown.append(x[0]))
    step = forward(objective, batch)
    hook.remove()
    return shown[0], step


@pytest.mark.parametrize("settings", [{}, ALL, {"crop_size": 64, "margin": 1.5}])
def test_crops_are_those_without_autocast(settings):
    objective = build(**settings)
    batch = toy_batch(objective)
    plain, _ = seen(objective, batch, lambda o, b: o(b))
    cast, step = seen(objective, batch, in_bf16)
    assert plain.dtype == cast.dtype == torch.float32
    assert torch.equal(plain, cast)
    assert step.loss.dtype == torch.float32


def test_windows_are_read_where_they_lie_on_a_ramp():
    """Grey levels that are the column's number say where pixels were read: bf16 was up to 1.4 pixels off."""
    size = 96
    objective = build(
        crop_size=size, margin=1.0, noise=0.0, amplitude=(1e-6, 1e-6), kinds=(1, 0, 0, 0, 0, 0)
    )
    batch = toy_batch(objective)
    ramp = (torch.arange(size) / (size - 1)).expand(8, 1, size, size)
    fields = {k: getattr(batch, k) for k in Batch.__dataclass_fields__}
    flat = Batch(**(fields | {"views": (ramp, ramp)}))
    plain, _ = seen(objective, flat, lambda o, b: o(b))
    cast, _ = seen(objective, flat, in_bf16)
    off = (plain - cast).abs() * (size - 1)  # pixels
    assert off.max() == 0.0
    steps = (cast[..., 1:-1, 2:-1] - cast[..., 1:-1, 1:-2])[:8].abs() * (size - 1)
    assert steps.min() > 0.5
    assert steps.max() < 1.01  # a window of 0.65 to 1 of the view
