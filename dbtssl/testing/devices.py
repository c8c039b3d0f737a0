"""Do two devices with half a batch each make the step that one makes with all of it?

Two processes (gloo) are started once for all cases; the single one is this process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import distributed

from dbtssl.interfaces import Batch
from dbtssl.io import write_text
from dbtssl.testing.toy_objective import toy_batch, toy_objective
from dbtssl.training.pretraining.pairs import step_seed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

ROWS, RANKS, SEED = 8, 2, 7
PATIENCE = 100  # seconds that a process waits for the other
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Difference:
    """Between two devices and one, relative to the norm of what is compared; absolute where that is below 0.01.

    ``loss`` is of the mean over the devices; ``gradient`` is the norm of the difference of all gradients, averaged as
    DDP does; ``state`` is the largest of a parameter or buffer after the step's forward pass (queues, centres, batch
    statistics); ``ranks`` is the same between the two devices.
    """

    loss: float
    gradient: float
    state: float
    ranks: float


def two_devices_against_one(
    cases: Mapping[str, Mapping[str, Any]], folder: Path
) -> dict[str, Difference]:
    """The difference for each case, by its label.

    A case has ``objective`` (a registered name) and may have ``fields`` of its Config, ``backbone`` (name, arguments)
    instead of the toy encoder, and ``frozen``: batch normalisation in evaluation mode, so that no device's statistics
    count. As in a training, each device has random numbers of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "cases.json", json.dumps(cases))
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", __name__, str(folder), str(rank)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(RANKS)
    ]
    with torch.random.fork_rng(devices=[]):
        alone = {label: _step(case, 0, 1) for label, case in cases.items()}
    output = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise AssertionError("\n".join(output))
    first, second = (torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(RANKS))
    return {label: _compare(alone[label], first[label], second[label]) for label in cases}


def _step(case: Mapping[str, Any], rank: int, ranks: int) -> Tensors:
    objective = toy_objective(
        case["objective"], case.get("fields", {}), backbone=case.get("backbone")
    )
    network = cast("nn.Module", objective).train(not case.get("frozen", False))
    whole = toy_batch(objective, ROWS)
    share = slice(ROWS // ranks * rank, ROWS // ranks * (rank + 1))
    mine = Batch(*(tuple(x[share] for x in getattr(whole, k)) for k in Batch.__dataclass_fields__))
    torch.manual_seed(step_seed(SEED, rank, 1))
    loss = objective(mine).loss
    loss.backward()  # type: ignore[no-untyped-call]
    found = {"loss": loss.detach()}
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            found[f"gradient {name}"] = parameter.grad
    for name, value in network.state_dict().items():
        if torch.is_tensor(value) and value.is_floating_point():
            found[f"state {name}"] = value
    return found


def _compare(one: Tensors, first: Tensors, second: Tensors) -> Difference:
    if not one.keys() == first.keys() == second.keys():
        raise AssertionError("not all devices have the same parameters, gradients and buffers")
    gradients = [name for name in one if name.startswith("gradient ")]
    mean = {name: (first[name] + second[name]) / 2 for name in ("loss", *gradients)}
    together, alone = (torch.cat([x[name].flatten() for name in gradients]) for x in (mean, one))
    states = [name for name in one if name.startswith("state ")]
    return Difference(
        loss=_relative(mean["loss"], one["loss"]),
        gradient=_relative(together, alone),
        state=max(_relative(first[name], one[name]) for name in states),
        ranks=max(_relative(first[name], second[name]) for name in states),
    )


def _relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    size = max(float(expected.norm()), 0.01)
    return float((found - expected).norm()) / size


def _main(folder: Path, rank: int) -> None:
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'store'}",
        rank=rank,
        world_size=RANKS,
        timeout=timedelta(seconds=PATIENCE),
    )
    cases = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
    torch.save(
        {label: _step(case, rank, RANKS) for label, case in cases.items()}, folder / f"{rank}.pt"
    )
    distributed.destroy_process_group()


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]))
