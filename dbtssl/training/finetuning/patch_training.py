"""Fine-tuning of a patch classifier as SIFT-DBT does it (section 2.3): settings, optimiser, and training.

Defaults are those of the released code, XYPB/SIFT_DBT at c6ef0f2 (README:53, `main_cls.py`, `opt.py`). Reading the
settings loads no torch; training does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from dbtssl.config import Config

if TYPE_CHECKING:
    import torch
    from torch import nn

    from dbtssl.interfaces import Labelled, Run
    from dbtssl.nn.classifier import PatchClassifier

ADAM_BETA2 = 0.999  # PyTorch's default


class PatchTraining(Config):
    """Which parameters are trained, with which optimiser, on which batches; a fine-tuner's ``Config`` may be one."""

    strategy: Literal["linear", "full", "discriminative"] = Field(
        "discriminative",
        description="linear: head only, the encoder frozen in evaluation mode; full: one learning rate; "
        "discriminative: the rate falls by factor for each stage towards the input (--disc-transfer)",
    )
    factor: float = Field(
        2.8,
        gt=0,
        description="divisor of the learning rate from stage to stage (--lr-decay; ULMFiT has 2.6)",
    )
    epochs: int = Field(50, ge=1, description="README:53; the paper takes 100 from random weights")
    batch_size: int = Field(
        128,
        ge=2,
        description="patches a step, half of them abnormal (README:53: 32 on each of 4 devices)",
    )
    steps_per_epoch: int | None = Field(
        None,
        ge=1,
        description="none: an epoch has as many patches as there are slices, as released",
    )
    optimizer: Literal["sgd", "adamw"] = Field(
        "sgd", description="sgd as released (main_cls.py:415)"
    )
    lr: float = Field(
        0.08,
        gt=0,
        description="the head's learning rate for this batch_size; released: 0.01 * 128 / 16 (main_cls.py:404)",
    )
    momentum: float = Field(
        0.9, ge=0, lt=1, description="of sgd (opt.py:14); adamw takes it as beta1"
    )
    weight_decay: float = Field(1e-4, ge=0, description="of all parameters (opt.py:16)")
    val_patches: int = Field(
        1,
        ge=1,
        description="fixed patches of each validation slice for model selection; released: 1",
    )
    val_every: int = Field(1, ge=1, description="epochs from validation to validation; released: 1")
    matched: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the normal patches that lie where lesions of training volumes do; released: 0, which "
        "lets a network learn the place instead of the lesion",
    )

    @field_validator("batch_size")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("an even number: half of each batch is abnormal")
        return value


def train_classifier(
    model: PatchClassifier,
    config: PatchTraining,
    train: Labelled,
    val: Labelled,
    run: Run,
    **changes: Any,
) -> nn.Module:
    """Train ``model`` in place, from the weights that it has; the epoch of the best validation AUC is kept.

    `train_patches` with the settings of ``config`` and the optimiser of `classifier_optimizer`; ``changes`` are other
    keywords of it, for instance ``loss``.
    """
    from dbtssl.training.finetuning.finetune import train_patches

    return train_patches(
        model,
        classifier_optimizer(model, config),
        train,
        val,
        run,
        epochs=config.epochs,
        batch_size=config.batch_size,
        steps_per_epoch=config.steps_per_epoch,
        val_patches=config.val_patches,
        val_every=config.val_every,
        matched=config.matched,
        **changes,
    )


def classifier_optimizer(model: PatchClassifier, config: PatchTraining) -> torch.optim.Optimizer:
    """The optimiser of what the strategy trains; ``linear`` freezes the encoder."""
    from torch.optim import SGD, AdamW

    from dbtssl.nn.stages import discriminative_groups

    groups: list[dict[str, Any]]
    if config.strategy == "discriminative":
        groups = discriminative_groups(model, config.lr, config.factor, config.weight_decay)
    else:
        model.encoder.requires_grad_(config.strategy == "full")
        groups = [{"params": [p for p in model.parameters() if p.requires_grad]}]
    settings: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    if config.optimizer == "adamw":
        return AdamW(groups, betas=(config.momentum, ADAM_BETA2), **settings)
    return SGD(groups, momentum=config.momentum, **settings)
