"""The fine-tuning loop that fine-tuners call: balanced patches in, the weights of the best validation AUC out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import log_expit, logsumexp
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from dbtssl.errors import TrainingError
from dbtssl.inference.predict import single_device, slice_logits
from dbtssl.patches.fixed_patches import FixedPatches
from dbtssl.progress import progress
from dbtssl.training.finetuning.augmentation import LightAugment, augment
from dbtssl.training.finetuning.balanced_batches import BalancedBatches, TrainPatches, flat_labels
from dbtssl.training.finetuning.finetune_state import RunState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.interfaces import Labelled, Run

VAL_SEED = 0  # the validation patches are the same for every seed and method

Schedule = Callable[[float], float]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
AfterStep = Callable[[nn.Module, float], None]


def cosine(done: float) -> float:
    """Factor of the learning rate where ``done`` of the run is done, from 1 at 0 to 0 at 1."""
    return float(0.5 * (1 + np.cos(np.pi * done)))


def train_patches(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: Labelled,
    val: Labelled,
    run: Run,
    *,
    epochs: int,
    batch_size: int,
    steps_per_epoch: int | None = None,
    val_patches: int = 1,
    val_every: int = 1,
    matched: float = 0.0,
    augmentation: LightAugment = LightAugment(),  # noqa: B008 (frozen)
    schedule: Schedule = cosine,
    loss: Loss = F.binary_cross_entropy_with_logits,
    after_step: AfterStep | None = None,
) -> nn.Module:
    """Train ``model`` on patches and return it with the weights of the epoch that had the best validation AUC.

    ``model`` maps ``(B, 1, S, S)`` to ``(B,)`` logits. ``optimizer`` holds what is to be trained, each group with its
    learning rate, which ``schedule`` scales step by step over the whole run. Submodules with parameters none of which
    is trained stay in evaluation mode, so that their batch-norm statistics do not move. Batches are half abnormal
    (`BalancedBatches`); a fraction ``matched`` of the normal patches lies where lesions do (`MatchedPlaces`). Without
    ``steps_per_epoch`` an epoch has as many patches as there are training slices.

    ``loss`` takes logits and labels, both ``(B,)``, the labels 0 or 1, and gives a scalar. ``after_step`` is called
    after each step of the optimiser with ``model`` and the fraction of the run that is done, above 0 and up to 1. What
    it remembers must be part of ``model`` (a submodule, a buffer), or a run that was killed goes on without it.

    Selection: after every ``val_every`` epochs and after the last, the AUC over all validation slices (`slice_auc`) of
    ``val_patches`` fixed patches each, with ``run.as_released`` over the lesion if there is one; of equal epochs the
    earlier is kept. After each epoch the state is written to
    ``run.folder``: a run that was killed resumes from there and ends with the same weights, bit for bit on a CPU.
    ``log.jsonl`` has a line an epoch.

    Raises:
        DataError: Training or validation lacks a class, or the labels do not fit the slices.
        TrainingError: The training diverges.
        ConfigError: ``run.folder`` has the state of another run, or ``batch_size`` is odd.
    """
    labels = flat_labels(val, "validation")
    patches = TrainPatches(
        train, run.patches, seed=run.seed, augmentation=augmentation, matched=matched
    )
    oracle = val.abnormal if run.as_released else None
    fixed = FixedPatches(val.slices, run.patches, count=val_patches, seed=VAL_SEED, oracle=oracle)
    device = single_device(run.accelerator)
    model.to(device).to(memory_format=torch.channels_last)
    set_rates = _rates(optimizer, schedule)
    options = {
        "schedule": [epochs, batch_size, steps_per_epoch, val_patches, val_every],
        "seed": run.seed,
        "patches": [run.patches.size, run.patches.min_tissue, matched],
        "augmentation": astuple(augmentation),
        "volumes": [[v.id for v in part.slices.cohort] for part in (train, val)],
        "labels": [np.packbits(x).tobytes().hex() for x in (patches.abnormal, labels)],
    }
    if run.as_released:
        options["validation"] = "over the lesion"
    if loss is not F.binary_cross_entropy_with_logits:
        options["loss"] = _name(loss)
    if after_step is not None:
        options["after_step"] = _name(after_step)
    state = RunState(run.folder, model, optimizer, options)
    remaining = range(state.epochs, epochs)
    batches = BalancedBatches(
        patches.abnormal,
        batch_size=batch_size,
        steps=steps_per_epoch,
        epochs=remaining,
        seed=run.seed,
    )
    loader = iter(
        DataLoader(
            patches,
            batch_sampler=batches,
            num_workers=run.workers,
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # else the loader moves the global random state
        )
    )
    forked = [device] if device.type == "cuda" else []
    with progress("fine-tune", len(batches), "steps") as ticker, torch.random.fork_rng(forked):
        note = ""
        for epoch in remaining:
            torch.manual_seed(_epoch_seed(run.seed, epoch))  # for dropout and the like
            training_mode(model)
            total = torch.zeros((), device=device)
            for step in range(batches.steps):
                set_rates((epoch + step / batches.steps) / epochs)
                total += _step(model, optimizer, loss, next(loader), device)
                if after_step is not None:
                    after_step(model, (epoch + (step + 1) / batches.steps) / epochs)
                ticker.advance(1, note)
            mean_loss = total.item() / batches.steps
            _refuse_divergence(np.isfinite(mean_loss), epoch)
            auc = None
            if (epoch + 1) % val_every == 0 or epoch + 1 == epochs:
                logits = slice_logits(model, fixed, device=device, workers=run.workers)
                _refuse_divergence(np.isfinite(logits).all(), epoch)
                auc = slice_auc(logits, labels)
                note = f"validation AUC {auc:.3f}"
            state.record(mean_loss, auc)
    state.finish()
    return model.eval()


def validation_logits(
    model: nn.Module, val: Labelled, run: Run, patches: int = 1
) -> NDArray[np.float32]:
    """Logits of the fixed patches that models are chosen on, ``(slices, patches)``; no label is read."""
    fixed = FixedPatches(val.slices, run.patches, count=patches, seed=VAL_SEED)
    device = single_device(run.accelerator)
    return slice_logits(model, fixed, device=device, workers=run.workers)


def training_mode(module: nn.Module) -> None:
    """Training mode, but evaluation mode for each submodule that has parameters and trains none of them.

    The released SIFT-DBT code lets the batch-norm statistics of a frozen encoder move (`main_cls.py:40`); MoCo's linear
    evaluation does not.
    """
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        module.eval()
        return
    module.train()
    for child in module.children():
        training_mode(child)


def slice_auc(logits: NDArray[np.float32], abnormal: NDArray[np.bool_]) -> float:
    """AUC of slices scored by the mean probability of their patches; ``logits`` is (slices, patches).

    The mean is taken to the logit scale, where probabilities near 0 and 1 stay apart.
    """
    x = logits.astype(np.float64)
    score = logsumexp(log_expit(x), axis=1) - logsumexp(log_expit(-x), axis=1)
    return float(roc_auc_score(abnormal, score))


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Loss,
    batch: Any,
    device: torch.device,
) -> torch.Tensor:
    # `Patch`, collated: B x 1 x S x S, B x DRAWN, B
    pixels, drawn, target = (part.to(device, non_blocking=True) for part in batch)
    value = loss(model(augment(pixels, drawn)), target)
    optimizer.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return value.detach()


def _name(function: Callable[..., Any]) -> str:
    """What a function is called in the identity of a run; of a callable object its class."""
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _rates(optimizer: torch.optim.Optimizer, schedule: Schedule) -> Callable[[float], None]:
    """A function that sets every group's learning rate where a fraction of the run is done."""
    start = [float(group["lr"]) for group in optimizer.param_groups]

    def set_rates(done: float) -> None:
        for group, rate in zip(optimizer.param_groups, start, strict=True):
            group["lr"] = rate * schedule(done)

    return set_rates


def _refuse_divergence(finite: np.bool_ | bool, epoch: int) -> None:
    if not finite:
        raise TrainingError(
            f"fine-tuning diverged in epoch {epoch + 1}: the loss or a logit is no longer a finite number",
            hint="lower the learning rate",
        )


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0])
