"""Self-supervised pretraining: its entry. Importing this loads no torch; the loop is in `loop`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtssl.interfaces.schedule import PretrainConfig

if TYPE_CHECKING:
    from pathlib import Path

    from dbtssl.data.prepared.prepared_dataset import Slices
    from dbtssl.interfaces import Objective, Sampler
    from dbtssl.training.monitors.monitor_config import Monitor

__all__ = ["PretrainConfig", "PretrainResult", "pretrain"]


@dataclass(frozen=True)
class PretrainResult:
    """What was done: epochs, optimiser steps, the mean loss of the last epoch, and what was said at the start."""

    epochs: int
    steps: int
    loss: float
    warnings: tuple[str, ...] = ()


def pretrain(
    objective: Objective,
    sampler: Sampler,
    slices: Slices,
    config: PretrainConfig,
    *,
    seed: int,
    folder: Path,
    accelerator: str = "auto",
    devices: int = 1,
    workers: int = 0,
    monitor: Monitor | None = None,
) -> PretrainResult:
    """Train ``objective`` in place on pairs of ``slices``; afterwards it is on the CPU.

    ``folder`` gets ``checkpoint.pt`` and ``log.jsonl`` (one line an epoch). Called again with the same folder it goes
    on where the checkpoint is, and ends with the same weights, on a CPU bit for bit; the caller builds the objective
    again, its initial weights do not matter then. Several devices are started by torchrun or Slurm, one process each;
    every process calls this function, process 0's weights count, and it alone writes. No label is trained on: the
    cohort that ``sampler`` sees has neither labels nor boxes, and a plugin that reads one fails.

    ``monitor`` measures the encoder on validation patients as it goes, and changes nothing of the result;
    ``monitors.jsonl`` and ``monitors.png`` in ``folder`` then tell of it, and so do event files where it says so.

    Raises `ConfigError` for a batch larger than an epoch or a checkpoint of another run, and `DbtsslError` for a loss
    that is not finite or a disk that is full.
    """
    from dbtssl.training.pretraining.loop import run

    return run(
        objective, sampler, slices, config, seed, folder, accelerator, devices, workers, monitor
    )
