"""Does an objective go on after a kill with the same weights, bit for bit?"""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from dbtssl.data.records import SliceRef
from dbtssl.plugins.registry import registry
from dbtssl.testing.toy_cohort import toy_cohort
from dbtssl.training.checkpoint import load_checkpoint
from dbtssl.training.pretraining.loop import CHECKPOINT
from dbtssl.training.pretraining.pretrain import PretrainConfig, pretrain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import nn

    from dbtssl.data.prepared.prepared_dataset import Slices
    from dbtssl.data.records import Cohort
    from dbtssl.interfaces import Objective, Sampler

STEPS, KILLED_AFTER = 20, 7
SCHEDULE = {"epochs": 5, "batch_size": 8, "lr": 0.01, "optimizer": "adamw"}


class _Killed(BaseException):
    """Ends a training from within, as a signal would; no handler of errors catches it."""


def check_resume(
    build: Callable[[int], Objective],
    folder: Path,
    *,
    slices: Slices | None = None,
    sampler: Sampler | None = None,
    **schedule: Any,
) -> str:
    """Train 20 steps straight, and 7, a kill and 13; raise AssertionError where the two differ in a single bit.

    ``build(seed)`` makes the objective with initial weights from ``seed``; the resumed one starts from other weights
    than the first, so that all that counts must come from the checkpoint. Compared is the SHA-256 of every tensor and
    number of the last checkpoint: objective, optimiser, running means. It is returned.

    ``schedule`` changes keys of `PretrainConfig`, whose steps must stay 20; without ``slices`` it is a `toy_cohort`
    whose slices all differ, without ``sampler`` pairs of a slice with itself. `check_draws` tries a ``sampler`` first:
    where the slices of a volume are alike, a training does not show which of them was drawn.
    """
    slices = toy_cohort(folder / "data", slices_differ=True) if slices is None else slices
    if sampler is None:
        sampler = cast("Sampler", registry().build("sampler", "same-slice", {}))
    else:
        check_draws(sampler, slices.cohort)
    anchors = {"slices_per_volume": 32 // len(slices.cohort)}
    plan = SCHEDULE | anchors | schedule

    def run(where: str, seed: int, steps: int | None = None) -> None:
        objective = build(seed)
        config = PretrainConfig(**(plan | {"checkpoint_every": 1e9 if steps is None else 0.0}))
        done = 0

        def count(*_: Any) -> None:
            nonlocal done
            if done == steps:
                raise _Killed
            done += 1

        cast("nn.Module", objective).register_forward_pre_hook(count)
        pretrain(
            objective, sampler, slices, config, seed=3, folder=folder / where, accelerator="cpu"
        )

    run("straight", 0)
    try:
        run("killed", 0, KILLED_AFTER)
    except _Killed:
        pass
    else:
        raise AssertionError(f"the training ended before step {KILLED_AFTER + 1}")
    _expect(folder / "killed", KILLED_AFTER)
    run("killed", 9)
    straight, resumed = (_expect(folder / where, STEPS) for where in ("straight", "killed"))
    differ = [
        name for name in straight.keys() | resumed.keys() if straight.get(name) != resumed.get(name)
    ]
    if differ:
        raise AssertionError(
            f"{len(differ)} of {len(straight)} parts of the state differ after a kill, "
            f"{min(differ)} among them; state_dict must hold all that decides the future"
        )
    return hashlib.sha256("".join(sorted(straight.values())).encode()).hexdigest()


def check_draws(sampler: Sampler, cohort: Cohort, draws: int = 20) -> None:
    """Raise AssertionError where positives depend on more than anchor, cohort and the generator that is passed in.

    For every slice of ``cohort`` the sampler is asked ``draws`` times, and then again in the other order, with a
    generator in the same state and the global ones of `random`, numpy and torch in another. The positives, and how much
    is taken from the generator, must be the same, whichever worker asks and whatever was asked before.
    """
    anchors = [SliceRef(i, z) for i, v in enumerate(cohort) for z in range(v.n_slices)]
    asked = [(anchor, draw) for draw in range(draws) for anchor in anchors]
    first = _drawn(sampler, cohort, asked, 1)
    second = _drawn(sampler, cohort, asked[::-1], 2)
    differ = [where for where in asked if first[where] != second[where]]
    if differ:
        anchor, (one, _), (two, _) = differ[0][0], first[differ[0]], second[differ[0]]
        what = (
            f"{one}, then {two}" if one != two else f"{one}, but with more or fewer numbers drawn"
        )
        raise AssertionError(
            f"{type(sampler).__name__}: {len(differ)} of {len(asked)} positives differ when asked for again with a "
            f"generator in the same state, first that of {anchor}: {what}; every random number must come from the "
            "rng that is passed in, and nothing may be remembered between calls"
        )


def _drawn(
    sampler: Sampler, cohort: Cohort, asked: Sequence[tuple[SliceRef, int]], state: int
) -> dict[tuple[SliceRef, int], tuple[SliceRef, float]]:
    """The positive of each anchor and draw, whose generator depends on them alone, and that generator's next number.

    Global generators are put back.
    """
    kept = random.getstate(), np.random.get_state()  # noqa: NPY002 - the legacy one is what is tested
    with torch.random.fork_rng(devices=[]):
        random.seed(state)
        np.random.seed(state)  # noqa: NPY002
        torch.manual_seed(state)
        try:
            found = {}
            for anchor, draw in asked:
                rng = np.random.default_rng([draw, anchor.volume, anchor.z])
                found[anchor, draw] = sampler.positive(anchor, cohort, rng), rng.random()
            return found
        finally:
            random.setstate(kept[0])
            np.random.set_state(kept[1])  # noqa: NPY002


def _expect(folder: Path, steps: int) -> dict[str, str]:
    """Hashes of the parts of the checkpoint in ``folder``, which must be ``steps`` old."""
    state = load_checkpoint(folder / CHECKPOINT)
    found = state and state["step"]
    if state is None or found != steps:
        raise AssertionError(f"the checkpoint is of step {found}, expected {steps}")
    del state["log_bytes"]  # the log has images a second
    return dict(_hashes("", state))


def _hashes(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [x for key, item in value.items() for x in _hashes(f"{name}.{key}", item)]
    if isinstance(value, list | tuple):
        return [x for i, item in enumerate(value) for x in _hashes(f"{name}.{i}", item)]
    if isinstance(value, torch.Tensor):
        data = value.contiguous().view(torch.uint8) if value.ndim else value
        value = (str(value.dtype), tuple(value.shape), data.numpy().tobytes())
    return [(name, hashlib.sha256(f"{name} {value!r}".encode()).hexdigest())]
