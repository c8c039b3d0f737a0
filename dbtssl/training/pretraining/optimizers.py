"""The optimiser of pretraining: which parameters it has, in which groups, and their rates in each step.

Parameters are in one group, or in two where biases, norms and the like are treated apart. These are parameters of one
dimension or none, biases, and what a module says in timm's ``no_weight_decay()``: position embeddings and tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from lightly.utils.lars import LARS
from lightly.utils.scheduler import cosine_schedule, cosine_warmup_schedule

if TYPE_CHECKING:
    from torch import nn

    from dbtssl.training.pretraining.pretrain import PretrainConfig


Grouped = dict[str, Any]


def make_optimizer(network: nn.Module, config: PretrainConfig) -> torch.optim.Optimizer:
    """The optimiser over all parameters of ``network`` that are trained.

    lightly's LARS takes what does not decay as plain SGD, without layer-wise scaling, as SimCLR, BYOL, Barlow Twins and
    VICReg do; its trust coefficient is 0.001, as theirs. It divides by ``|g| + wd |w|`` (You et al., 2017), their code
    by ``|g + wd w|``: where both terms are as long and at right angles, their steps are 1.4 times as long.
    """
    groups = parameter_groups(network, config)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)
    settings: dict[str, Any] = {
        "lr": config.lr,
        "momentum": config.momentum,
        "weight_decay": config.weight_decay,
    }
    if config.optimizer == "lars":
        lars: torch.optim.Optimizer = LARS(groups, **settings)
        return lars
    return torch.optim.SGD(groups, **settings)


def parameter_groups(network: nn.Module, config: PretrainConfig) -> list[Grouped]:
    """Trained parameters with their ``lr_factor`` and whether they decay; the second group holds biases and norms."""
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    if config.decay_bias_norm and config.bias_norm_lr == 1.0:
        return [{"params": list(trained.values()), "lr_factor": 1.0, "decays": True}]
    apart = biases_and_norms(network)
    weights = [p for name, p in trained.items() if name not in apart]
    others = [p for name, p in trained.items() if name in apart]
    groups: list[Grouped] = [
        {"params": weights, "lr_factor": 1.0, "decays": True},
        {"params": others, "lr_factor": config.bias_norm_lr, "decays": config.decay_bias_norm},
    ]
    return [group for group in groups if group["params"]]


def biases_and_norms(network: nn.Module) -> set[str]:
    """Names of the parameters that are no weights: biases, norms, scales, position embeddings and tokens."""
    found = {
        name
        for name, parameter in network.named_parameters()
        if parameter.ndim <= 1
        or name.endswith((".bias", "reg_token"))  # old releases of timm leave the last out
    }
    for prefix, module in network.named_modules():
        listed = getattr(module, "no_weight_decay", None)
        if callable(listed):
            found |= {f"{prefix}.{name}".lstrip(".") for name in listed()}
    return found


def set_rates(optimizer: torch.optim.Optimizer, lr: float, weight_decay: float) -> None:
    """Give every group its learning rate and weight decay for the next step."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]
        group["weight_decay"] = weight_decay if group["decays"] else 0.0


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
