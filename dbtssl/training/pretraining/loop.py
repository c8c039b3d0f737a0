"""The pretraining loop. Fabric carries device, precision and DDP; what decides the future is in the checkpoint.

torch's generators are seeded again in each step from (seed, rank, step), and learning rate and weight decay are
functions of the step, so none of these is part of the state. The caller's global generators are left as they were.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch import nn

from dbtssl.config import digest, result_fields
from dbtssl.data.prepared.prepared_dataset import Slices
from dbtssl.data.prepared.unlabelled import unlabelled
from dbtssl.errors import ConfigError, DbtsslError, TrainingError
from dbtssl.interfaces.abilities import FreezesParameters, ReportsCollapse, able
from dbtssl.interfaces.boundary import calling, marked
from dbtssl.progress import progress, say
from dbtssl.training.checkpoint import load_checkpoint, save_checkpoint
from dbtssl.training.monitors.monitor_config import MONITORS
from dbtssl.training.pretraining.contract_checks import step
from dbtssl.training.pretraining.optimizers import (
    learning_rate,
    make_optimizer,
    set_rates,
    weight_decay,
)
from dbtssl.training.pretraining.pair_warnings import weak_pairs
from dbtssl.training.pretraining.pairs import (
    Order,
    Pairs,
    RawBatch,
    finish,
    loader,
    no_partner,
    step_seed,
)
from dbtssl.training.pretraining.pretrain import PretrainConfig, PretrainResult
from dbtssl.training.training_log import Means, append_line, cut_back, length

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dbtssl.interfaces import Objective, Sampler
    from dbtssl.training.monitors.monitor_config import Monitor


CHECKPOINT, LOG = "checkpoint.pt", "log.jsonl"


class _Training(nn.Module):
    """Photometry and objective as one module over plain tensors: neither DDP nor autocast knows our frozen records."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, raw: RawBatch) -> dict[str, torch.Tensor]:
        with torch.no_grad(), torch.autocast(raw["views"][0].device.type, enabled=False):
            batch = finish(raw, self.objective.views)
        loss, logs = step(self.objective, batch)
        return {**logs, "same_slice": raw["same_slice"].mean(), "loss": loss}


def run(
    objective: Objective,
    sampler: Sampler,
    slices: Slices,
    config: PretrainConfig,
    seed: int,
    folder: Path,
    accelerator: str,
    devices: int,
    workers: int,
    monitor: Monitor | None,
) -> PretrainResult:
    """See `dbtssl.training.pretraining.pretrain.pretrain`."""
    if monitor is not None:
        monitor.check(slices.cohort)
    slices = Slices(slices.root, unlabelled(slices.cohort))
    pairs = Pairs(slices, sampler, tuple(objective.views), seed)
    fabric = launch(accelerator, devices, config.precision)
    items = len(slices.cohort) * config.slices_per_volume
    check_batch(config, len(slices.cohort), items, fabric.world_size)
    identity = _identity(objective, sampler, slices, config, seed)
    state = _restore(folder, identity)
    start = int(state["step"]) if state else 0
    order = Order(
        items, config.batch_size, config.epochs, seed, start, fabric.global_rank, fabric.world_size
    )
    per_epoch = order.steps_per_epoch
    total = config.epochs * per_epoch

    network = cast("nn.Module", objective)
    training, optimizer = fabric.setup(_Training(objective), make_optimizer(network, config))
    means, loss = Means(), math.nan
    constant = no_partner(sampler, slices.cohort)
    warnings = weak_pairs(sampler, slices.cohort, constant, seed)
    for warning in warnings if fabric.is_global_zero else ():
        say(f"warning, {monitor.name if monitor else 'pretrain'}: {warning}")
    if state:
        network.load_state_dict(state["objective"])
        optimizer.load_state_dict(state["optimizer"])
        means.load_state_dict(state["means"], fabric.device)
        loss = state["loss"]
    cuda = [fabric.device] if fabric.device.type == "cuda" else []
    batches = loader(pairs, order, workers, pin=bool(cuda))
    ticking = progress("pretrain", (total - start) * config.batch_size, "images")
    watch = None
    if monitor is not None and monitor.config.every and fabric.is_global_zero:
        from dbtssl.training.monitors.monitor_runner import MonitorRunner  # imports scikit-learn

        watch = MonitorRunner(monitor, folder, folder / LOG, fabric.device)
    network.train()
    with torch.random.fork_rng(devices=cuda), ticking as ticker:
        saved = begun = time.monotonic()
        shown = 0  # images since the last line of the log
        if watch is not None and not start:
            watch.look(objective, 0, 0, last=False)
        for done, raw in enumerate(batches, start=start + 1):
            torch.manual_seed(step_seed(seed, fabric.global_rank, done))
            lr = learning_rate(config, done - 1, per_epoch, total)
            set_rates(optimizer, lr, weight_decay(config, done - 1, total))
            out = training(fabric.to_device(raw))
            if done == 1 and not math.isfinite(float(out["loss"].detach())):
                raise _not_finite(
                    "in the first step, before any weight was changed",
                    "look for a division by 0, a logarithm of 0 or a root of 0 in the objective's forward",
                )
            optimizer.zero_grad()
            fabric.backward(out["loss"])
            if able(objective, FreezesParameters):
                with calling("objective", f"before_step in step {done}"):
                    objective.before_step()
            if config.clip_norm is not None:
                norm = fabric.clip_gradients(
                    training, optimizer, max_norm=config.clip_norm, error_if_nonfinite=False
                )
                out["gradient_norm"] = norm  # before it was clipped
            optimizer.step()
            with calling("objective", f"after_step in step {done}"):
                objective.after_step((done - 1) / max(1, total - 1))
            means.add({name: value.detach() for name, value in out.items()})
            shown += config.batch_size
            note = ""
            if done % per_epoch == 0:
                values = _finite(means, done, lr)
                loss, note, means = values["loss"], f"loss {values['loss']:.3f}", Means()
                if fabric.is_global_zero:
                    where = {"epoch": done // per_epoch, "step": done, "lr": lr}
                    rate = round(shown / (time.monotonic() - begun), 1)
                    append_line(folder / LOG, {**where, **values, **constant, "images_per_s": rate})
                if watch is not None and watch.due(done // per_epoch, last=done == total):
                    watch.look(objective, done // per_epoch, done, last=done == total)
                refuse_collapse(fabric, objective, values, done // per_epoch)
                begun, shown = time.monotonic(), 0
            if done == total or time.monotonic() - saved >= config.checkpoint_every:
                _finite(means, done, lr)
                if fabric.is_global_zero:
                    state = {
                        "identity": identity,
                        "step": done,
                        "objective": network.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "means": means.state_dict(),
                        "loss": loss,
                        "log_bytes": length(folder / LOG),
                        "monitors_bytes": length(folder / MONITORS),
                    }
                    save_checkpoint(folder / CHECKPOINT, state)
                saved = time.monotonic()
            ticker.advance(config.batch_size, note)
    fabric.barrier()
    network.to("cpu")
    return PretrainResult(epochs=config.epochs, steps=total, loss=loss, warnings=warnings)


def _restore(folder: Path, identity: str) -> dict[str, Any] | None:
    """The state to resume from, if there is one; the log is cut back to it. Refuses another run's."""
    folder.mkdir(parents=True, exist_ok=True)
    state = load_checkpoint(folder / CHECKPOINT)
    if state and state["identity"] != identity:
        raise ConfigError(
            f"{folder} holds the checkpoint of another run: its data, settings or seed differ",
            hint=f"choose another folder, or delete {folder / CHECKPOINT} to start again",
        )
    cut_back(folder / LOG, state["log_bytes"] if state else 0)
    cut_back(folder / MONITORS, state.get("monitors_bytes", 0) if state else 0)
    return state


def launch(accelerator: str, devices: int, precision: str) -> Fabric:
    """Start Fabric in this process; one of several only where torchrun or Slurm started them."""
    started = TorchElasticEnvironment.detect() or SLURMEnvironment.detect()
    if devices > 1 and not started:
        raise ConfigError(
            f"pretraining on {devices} devices needs {devices} processes, and this is one",
            hint=f"start the same command with torchrun --nproc-per-node {devices}, or with srun",
        )
    # our buffers are equal on all ranks (queue) or each rank's own (batch statistics): nothing to broadcast
    strategy = DDPStrategy(broadcast_buffers=False) if devices > 1 else "auto"
    fabric = Fabric(
        accelerator=accelerator, devices=devices, strategy=strategy, precision=precision
    )
    fabric.launch()
    return fabric


def check_batch(config: PretrainConfig, volumes: int, items: int, ranks: int) -> None:
    """Refuse a batch that is larger than an epoch or that the devices cannot share."""
    if config.batch_size > items:
        needed = -(-config.batch_size // max(1, volumes))
        raise ConfigError(
            f"pretrain.batch_size: got {config.batch_size}, but an epoch has only {items} slices "
            f"({volumes} training volumes, {config.slices_per_volume} slices of each)",
            hint=f"set pretrain.batch_size to at most {items}, or pretrain.slices_per_volume to at least {needed}; "
            "where the row names a preset, in the row's own table",
        )
    if config.batch_size % ranks:
        raise ConfigError(
            f"pretrain.batch_size: got {config.batch_size}, expected a multiple of the {ranks} devices",
            hint=f"for example {config.batch_size // ranks * ranks or ranks}",
        )


def _finite(means: Means, at: int, lr: float) -> dict[str, float]:
    """The means so far; refuse a loss that is not finite, before it reaches a checkpoint."""
    values = means.means()
    if not math.isfinite(values.get("loss", 0.0)):
        raise _not_finite(
            f"(step {at}, learning rate {lr:.3g})",
            "lower pretrain.lr or add pretrain.warmup_epochs; the last checkpoint is from before and is kept",
        )
    return values


def _not_finite(where: str, hint: str) -> DbtsslError:
    return marked(TrainingError(f"the loss is not finite {where}", hint=hint), "objective")


def _identity(
    objective: Objective, sampler: Sampler, slices: Slices, config: PretrainConfig, seed: int
) -> str:
    """What a checkpoint belongs to: settings, seed, classes, views, shapes of the weights, and the volumes."""
    shapes = {k: list(v.shape) for k, v in cast("nn.Module", objective).state_dict().items()}
    views: list[Any] = [asdict(view) for view in objective.views]
    volumes = [(v.id, v.n_slices, v.rows, v.columns) for v in slices.cohort]
    classes = [type(part).__qualname__ for part in (objective, sampler)]
    return digest([result_fields(config), seed, classes, views, shapes, volumes])


def refuse_collapse(
    fabric: Fabric, objective: Objective, means: Mapping[str, float], epoch: int
) -> None:
    """Ask the objective at an epoch's end, where it is a `ReportsCollapse`.

    All ranks call this and follow rank 0, whose means are in the log. Raises `TrainingError` with the sentence.
    """
    if not able(objective, ReportsCollapse):
        return
    with calling("objective", f"collapsed, asked at the end of epoch {epoch}"):
        said = objective.collapsed(means)
    if what := fabric.broadcast(str(said or "")):
        error = TrainingError(
            f"the training collapsed by the end of epoch {epoch}: {what}",
            hint="lower pretrain.lr, lengthen pretrain.warmup_epochs, or look at the objective's temperatures and "
            "centring; log.jsonl has every epoch",
        )
        raise marked(error, "objective")
