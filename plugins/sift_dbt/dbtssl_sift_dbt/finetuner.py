"""Local multi-patch fine-tuning with discriminative learning rates (SIFT-DBT, section 2.3).

Defaults are those of the released code, XYPB/SIFT_DBT at c6ef0f2 (README:53, `main_cls.py`, `opt.py`). Reading the
settings loads no torch; training does.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator

from dbtssl.api import Config as BaseConfig
from dbtssl.api import Field, config_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from dbtssl.api import Labelled, PatchClassifier, Run

ADAM_BETA2 = 0.999  # PyTorch's default


class LocalMultiPatch:
    """One patch a slice in training, balanced classes, lesion patches that contain the box; the best epoch is kept."""

    class Config(BaseConfig):
        """How the classifier is trained."""

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
        epochs: int = Field(
            50, ge=1, description="README:53; the paper takes 100 from random weights"
        )
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
        val_every: int = Field(
            1, ge=1, description="epochs from validation to validation; released: 1"
        )
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

    def __init__(self, **config: Any) -> None:
        self.config = config_of(self.Config, config)

    def fit(self, encoder: nn.Module, train: Labelled, val: Labelled, run: Run) -> nn.Module:
        """Train on ``train``, choose the epoch on ``val``; ``encoder`` itself is left as it is."""
        from dbtssl.api import PatchClassifier

        # the released linear probe has a small head in any case (`main_cls.py:300`)
        torch_head = run.as_released and self.config.strategy != "linear"
        model = PatchClassifier(
            copy.deepcopy(encoder), seed=run.seed, init="torch" if torch_head else "small"
        )
        return self.train(model, train, val, run)

    def train(self, model: PatchClassifier, train: Labelled, val: Labelled, run: Run) -> nn.Module:
        """Train ``model`` in place, from the weights that it has."""
        from dbtssl.api import train_patches

        config = self.config
        return train_patches(
            model,
            self.optimizer(model),
            train,
            val,
            run,
            epochs=config.epochs,
            batch_size=config.batch_size,
            steps_per_epoch=config.steps_per_epoch,
            val_patches=config.val_patches,
            val_every=config.val_every,
            matched=config.matched,
        )

    def optimizer(self, model: PatchClassifier) -> torch.optim.Optimizer:
        """The optimiser of what the strategy trains; ``linear`` freezes the encoder."""
        from torch.optim import SGD, AdamW

        from dbtssl.api import discriminative_groups

        config = self.config
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
