"""What samplers and objectives promise, looked at where they meet the training loop; `refused` says what was broken."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from dbtssl.data.records import SliceRef
from dbtssl.interfaces import Step
from dbtssl.interfaces.boundary import calling, described, refused, shapes

if TYPE_CHECKING:
    from numpy.random import Generator

    from dbtssl.data.records import Cohort
    from dbtssl.interfaces import Batch, Objective, Sampler

CROSSES = "crosses_patients"  # attribute of samplers whose positive may be of another patient
RESERVED = ("epoch", "step", "lr", "images_per_s", "same_slice", "no_partner", "gradient_norm")
"""Names that the log gives to values of its own."""
POSITIVE_HINT = (
    "return SliceRef(volume, z): the position of a volume in the cohort, and a slice of it from 0"
)


def positive(sampler: Sampler, anchor: SliceRef, cohort: Cohort, rng: Generator) -> SliceRef:
    """The positive of ``anchor``, as two plain integers; `PluginError` for none that a pair can be made of."""
    with calling("sampler", f"positive({anchor}, a cohort of {len(cohort)} volumes, rng)"):
        found = sampler.positive(anchor, cohort, rng)
    what = f"positive({anchor}) returned {described(found)}"
    if not isinstance(found, SliceRef):
        raise refused("sampler", f"{what}, expected a SliceRef", POSITIVE_HINT)
    volume, z = (_integer(value) for value in found)
    if volume is None or z is None:
        raise refused("sampler", f"{what}, expected integers", POSITIVE_HINT)
    if not 0 <= volume < len(cohort):
        raise refused(
            "sampler", f"{what}, expected a volume from 0 to {len(cohort) - 1}", POSITIVE_HINT
        )
    if not 0 <= z < cohort[volume].n_slices:
        raise refused(
            "sampler",
            f"{what}, but volume {volume} has the slices 0 to {cohort[volume].n_slices - 1}",
            POSITIVE_HINT,
        )
    ids = cohort.patient_ids
    if ids[volume] != ids[anchor.volume] and getattr(sampler, CROSSES, False) is not True:
        raise refused(
            "sampler",
            f"{what}, a volume of another patient than the anchor's",
            f"draw from cohort.same_patient(anchor.volume); if it is meant, set {CROSSES} = True on the class",
        )
    return SliceRef(volume, z)


def step(objective: Objective, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Loss and logs of one step, all scalars; `PluginError` where they cannot be trained on or logged."""
    views = f"views {shapes(batch.views)}"
    with calling("objective", f"forward with {views}"):
        found = objective(batch)
    if not isinstance(found, Step):
        raise refused(
            "objective",
            f"forward returned {described(found)}, expected a Step ({views})",
            "return Step(loss, logs) of dbtssl.api",
        )
    loss = found.loss
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        raise refused(
            "objective",
            f"the loss is {described(loss)}, expected a tensor of one number ({views})",
            "reduce it: loss.mean()",
        )
    if not loss.is_floating_point():
        raise refused(
            "objective",
            f"the loss is of {loss.dtype}, expected floating point ({views})",
            "make the loss from the encoder's output, not from integers",
        )
    if torch.is_grad_enabled() and not loss.requires_grad:
        raise refused(
            "objective",
            f"the loss has no gradient ({views})",
            "make it from the encoder's output, without detach(), .item() and torch.no_grad()",
        )
    return loss.reshape(()), _scalars(found.logs, loss)


def _scalars(logs: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    """The logs as scalars on the loss's device."""
    hint = "log plain numbers or tensors of one number, under names of your own"
    if not isinstance(logs, Mapping):
        raise refused(
            "objective", f"Step.logs is {described(logs)}, expected names and numbers", hint
        )
    out = {}
    for name, value in logs.items():
        if not isinstance(name, str) or name in RESERVED:
            raise refused(
                "objective", f"Step.logs has the name {name!r}, which is taken by the log", hint
            )
        try:
            scalar = torch.as_tensor(value, device=loss.device).detach()
        except (TypeError, ValueError, RuntimeError):
            scalar = None
        if scalar is None or scalar.numel() != 1 or scalar.is_complex():
            raise refused(
                "objective", f"Step.logs[{name!r}] is {described(value)}, expected one number", hint
            )
        out[name] = scalar.reshape(())
    return out


def _integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None
