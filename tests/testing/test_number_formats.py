"""Number formats in a step of every objective: no float64, which some devices lack, and no rounded coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dbtssl.plugins import registry
from dbtssl.testing.toy_objective import toy_batch, toy_objective

from .test_devices import BACKBONES, OBJECTIVES, SMALL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

WHERE = ("grid_sampl", "affine_grid", "searchsorted", "bucketize", "linspace", "arange", "cumsum")
"""Operations on places and positions, by how their names begin."""
ON = {"decoys": 0.5, "stretched": 0.5, "across": 0.5, "easy": 3.0, "hardest": 0.5}


class Watch(TorchDispatchMode):
    """Notes the operations that read or make numbers of ``dtype``, all or those of ``names``."""

    def __init__(self, dtype: torch.dtype, names: Sequence[str] = ("",)) -> None:
        super().__init__()
        self.dtype, self.names, self.seen = dtype, names, set[str]()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.__name__
        if name.startswith(tuple(self.names)):
            found = tree_leaves((args, kwargs, out))
            if any(isinstance(x, torch.Tensor) and x.dtype == self.dtype for x in found):
                self.seen.add(name)
        return out


def made(name: str) -> Any:
    known = registry().load("objective", name).Config.model_fields
    fields = {key: value for key, value in (SMALL | ON).items() if key in known}
    return toy_objective(name, fields, backbone=BACKBONES.get(name))


def step(objective: Any) -> None:
    objective(toy_batch(objective)).loss.backward()
    objective.after_step(0.25)


def kept(objective: Any) -> dict[str, torch.Tensor]:
    return dict(objective.named_parameters()) | dict(objective.named_buffers())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_nothing_on_the_device_is_float64(name):
    """Parameters, buffers, and every tensor that a step makes: MPS has no float64."""
    objective = made(name)
    assert not {k for k, x in kept(objective).items() if x.dtype == torch.float64}
    with Watch(torch.float64) as watch:
        step(objective)
    assert not watch.seen
    assert not {k for k, x in kept(objective).items() if x.dtype == torch.float64}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_coordinates_are_not_rounded_under_autocast(name):
    """bf16 has 8 bits: of 256 pixels it names every second one. Nor are what encoders keep."""
    objective = made(name)
    with Watch(torch.bfloat16, WHERE) as watch, torch.autocast("cpu", torch.bfloat16):
        step(objective)
    assert not watch.seen
    assert not {k for k, x in kept(objective).items() if x.dtype == torch.bfloat16}


@pytest.mark.parametrize(
    ("make", "dtype", "names"),
    [
        (lambda: torch.ones(2, dtype=torch.float64) + 1, torch.float64, ("",)),
        (lambda: torch.ones(2).double(), torch.float64, ("",)),
        (lambda: torch.ones(2, 3).bfloat16().cumsum(1), torch.bfloat16, WHERE),
    ],
)
def test_the_watch_sees(make: Callable[[], object], dtype: torch.dtype, names: Sequence[str]):
    with Watch(dtype, names) as watch:
        make()
    assert watch.seen
    with Watch(dtype, names) as watch:
        torch.ones(2).cumsum(0)
    assert not watch.seen
