"""The schedule of a pretraining: what a method's paper and a specification say about epochs, rates and decay."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from dbtssl.config import Config, infra


class PretrainConfig(Config):
    """The schedule of pretraining. The defaults are MoCo v2's at batch 128 (reference code, README and `main_moco.py`).

    One epoch shows ``slices_per_volume`` random slices of each training volume, in an order drawn again each epoch; the
    last partial batch is dropped. The learning rate falls as a cosine, step by step, from ``lr`` to ``min_lr``, after a
    linear rise over ``warmup_epochs``. *Biases and norms* are all parameters of one dimension, biases, and what timm
    leaves out of weight decay: position embeddings and tokens.
    """

    epochs: int = Field(default=200, ge=1, description="passes over the training volumes")
    batch_size: int = Field(default=128, ge=1, description="pairs in a step, over all devices")
    slices_per_volume: int = Field(
        default=1, ge=1, description="random anchor slices of a volume in an epoch"
    )
    optimizer: Literal["sgd", "adamw", "lars"] = Field(default="sgd", description="the optimiser")
    lr: float = Field(
        default=0.015, gt=0, description="highest learning rate, not scaled by the batch"
    )
    weight_decay: float = Field(default=1e-4, ge=0, description="weight decay, at first")
    weight_decay_end: float | None = Field(
        default=None,
        ge=0,
        description="weight decay of the last step, along a cosine; none: constant",
    )
    decay_bias_norm: bool = Field(
        default=True,
        description="weight decay on biases and norms too; false leaves them out, and out of the scaling of lars",
    )
    bias_norm_lr: float = Field(
        default=1.0, gt=0, description="factor of the learning rate for biases and norms"
    )
    momentum: float = Field(
        default=0.9, ge=0, lt=1, description="of sgd and lars; adamw does not read it"
    )
    clip_norm: float | None = Field(
        default=None,
        gt=0,
        description="largest norm of the gradient of all parameters together; none: not clipped",
    )
    warmup_epochs: float = Field(default=0.0, ge=0, description="epochs of linear rise from 0")
    min_lr: float = Field(default=0.0, ge=0, description="learning rate of the last step")
    precision: Literal["32-true", "bf16-mixed"] = Field(
        default="32-true", description="floating point of the forward pass"
    )
    checkpoint_every: float = infra(
        60.0, ge=0, description="seconds between checkpoints; the last step always writes one"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs of at most epochs ({self.epochs})")
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr of at most lr ({self.lr})")
        if self.optimizer == "lars" and not (self.weight_decay and self.weight_decay_end != 0):
            raise ValueError("a weight decay above 0 with lars: it scales only what decays")
        return self
