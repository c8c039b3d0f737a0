"""Learning rate and weight decay as functions of the step, so that neither is part of a run's state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightly.utils.scheduler import cosine_schedule, cosine_warmup_schedule

if TYPE_CHECKING:
    from dbtssl.training.pretrain import PretrainConfig


def learning_rate(config: PretrainConfig, step: int, per_epoch: int, total: int) -> float:
    """Cosine from ``lr`` to ``min_lr`` after a linear rise (SGDR without restarts; MoCo v2).

    ``step`` runs from 0 to ``total - 1``; the last step of the rise has ``lr``, the last of all ``min_lr``.
    """
    rate: float = cosine_warmup_schedule(
        step=step,
        max_steps=total,
        start_value=config.lr,
        end_value=config.min_lr,
        warmup_steps=round(config.warmup_epochs * per_epoch),
        warmup_start_value=0.0,
    )
    return rate


def weight_decay(config: PretrainConfig, step: int, total: int) -> float:
    """Constant, or a cosine from ``weight_decay`` to ``weight_decay_end`` (DINO, `main_dino.py`), without warm-up."""
    if config.weight_decay_end is None:
        return config.weight_decay
    decay: float = cosine_schedule(step, total, config.weight_decay, config.weight_decay_end)
    return decay
