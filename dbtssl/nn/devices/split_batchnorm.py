"""Batch normalisation in parts, so that one device behaves as several do without synchronised statistics.

MoCo needs this: where a query and its key are normalised with the same images, the statistics tell which key
belongs to the batch, and the loss falls without anything being learned (MoCo, section 3.3, "Shuffling BN"). After the
authors' one-GPU recipe (`colab/moco_cifar10_demo.ipynb`).
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional as F

from dbtssl.errors import ConfigError
from dbtssl.nn.devices.distributed import world_size

M = TypeVar("M", bound=nn.Module)
B = TypeVar("B", bound=nn.Module)


class SplitBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` that normalises each of ``splits`` parts of a training batch with its own statistics.

    ``splits`` counts the parts over all devices: on R of them each makes ``max(1, splits // R)``. Part ``s`` holds the
    images ``s, s + splits, ...`` of the device's batch, which the parts must divide. The running statistics are the
    mean over the parts. Evaluation and the keys of the ``state_dict`` are those of `nn.BatchNorm2d`.
    """

    def __init__(self, num_features: int, splits: int, **kwargs: float | bool) -> None:
        super().__init__(num_features, **kwargs)  # type: ignore[arg-type]
        self.splits = splits
        self.drop: nn.Module = nn.Identity()
        self.act: nn.Module = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise ``x`` ``(B, C, H, W)``."""
        parts = max(1, self.splits // world_size())
        if not self.training or parts == 1:
            return self.act(self.drop(super().forward(x)))  # type: ignore[no-any-return]
        b, c, h, w = x.shape
        if b % parts or b == parts:
            raise ConfigError(
                f"split batch normalisation: {b} images on this device cannot be cut into {parts} equal parts "
                "of 2 or more",
                hint="make the batch size a multiple of the number of splits, at least twice as large",
            )
        factor = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            factor = 1.0 / int(self.num_batches_tracked) if factor is None else factor
        mean, var = self.running_mean, self.running_var
        means = None if mean is None else mean.repeat(parts)
        variances = None if var is None else var.repeat(parts)
        out = F.batch_norm(
            x.reshape(b // parts, parts * c, h, w),
            means,
            variances,
            None if self.weight is None else self.weight.repeat(parts),
            None if self.bias is None else self.bias.repeat(parts),
            True,
            factor or 0.0,
            self.eps,
        ).view(b, c, h, w)
        if mean is not None and var is not None and means is not None and variances is not None:
            mean.copy_(means.view(parts, c).mean(0))
            var.copy_(variances.view(parts, c).mean(0))
        return self.act(self.drop(out))  # type: ignore[no-any-return]


def split_batchnorm(module: M, splits: int) -> M:
    """Replace every 2-d batch normalisation in ``module``, in place; parameters and buffers are kept.

    With ``splits`` 1 they behave as plain ones again. timm's `BatchNormAct2d` keeps its dropout and activation.
    Networks without batch normalisation come back as they are.
    """
    from timm.layers import BatchNormAct2d  # seconds to import, needed only here

    for name, child in list(module.named_children()):
        if isinstance(child, SplitBatchNorm2d):
            child.splits = splits
        elif isinstance(child, nn.BatchNorm2d) and type(child) in (nn.BatchNorm2d, BatchNormAct2d):
            setattr(module, name, _split(child, splits))
        else:
            split_batchnorm(child, splits)
    return module


def _split(old: nn.BatchNorm2d, splits: int) -> SplitBatchNorm2d:
    new = SplitBatchNorm2d(
        old.num_features,
        splits,
        eps=old.eps,
        momentum=old.momentum,  # type: ignore[arg-type]
        affine=old.affine,
        track_running_stats=old.track_running_stats,
    )
    return take_over(old, new)


def take_over(old: nn.Module, new: B) -> B:
    """``new`` with parameters, buffers and mode of ``old``; of timm's `BatchNormAct2d` dropout and activation too."""
    new.load_state_dict(old.state_dict(), strict=False)
    new.train(old.training)
    new.drop = getattr(old, "drop", new.drop)
    new.act = getattr(old, "act", new.act)
    return new
