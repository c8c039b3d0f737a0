"""Batch normalisation over the images of all devices, on any backend.

SimCLR, BYOL, SimSiam, Barlow Twins, VICReg and DINO train with it. torch's `SyncBatchNorm` refuses tensors on the CPU,
and with them a test on two processes without GPUs; this one works wherever tensors can be gathered.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from dbtssl.nn.devices.distributed import gather_with_gradient, world_size
from dbtssl.nn.devices.split_batchnorm import take_over

M = TypeVar("M", bound=nn.Module)


class SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation of ``(B, C, ...)`` whose training statistics are those of all devices' images.

    Every device has as many. On one device, and in evaluation, it does what torch's does; the keys of its
    ``state_dict`` are the same too.
    """

    def __init__(self, num_features: int, **kwargs: float | bool | None) -> None:
        super().__init__(num_features, **kwargs)  # type: ignore[arg-type]
        self.drop: nn.Module = nn.Identity()
        self.act: nn.Module = nn.Identity()

    def _check_input_dim(self, input: torch.Tensor) -> None:  # noqa: A002 (torch's name)
        """Any number of dimensions from 2 on."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise ``x``."""
        alone = world_size() == 1 or not (self.training or self.running_mean is None)
        return self.act(self.drop(super().forward(x) if alone else self._together(x)))  # type: ignore[no-any-return]

    def _together(self, x: torch.Tensor) -> torch.Tensor:
        axes = [0, *range(2, x.ndim)]
        y = x.float()
        here = torch.stack([y.mean(dim=axes), y.var(dim=axes, correction=0)])  # 2 x C
        each = gather_with_gradient(here[None])  # R x 2 x C
        mean = each[:, 0].mean(dim=0)
        var = (each[:, 1] + (each[:, 0] - mean).square()).mean(dim=0)
        self._track(mean.detach(), var.detach(), world_size() * (x.numel() // x.shape[1]))
        scale = torch.rsqrt(var + self.eps) * (1.0 if self.weight is None else self.weight)
        shift = (0.0 if self.bias is None else self.bias) - mean * scale
        shape = (1, -1, *[1] * (x.ndim - 2))
        return (y * scale.view(shape) + shift.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, var: torch.Tensor, count: int) -> None:
        """Move the running statistics as torch does, the variance without bias."""
        if self.running_mean is None or self.running_var is None:
            return
        factor = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            factor = 1.0 / int(self.num_batches_tracked) if factor is None else factor
        self.running_mean.lerp_(mean, factor or 0.0)
        self.running_var.lerp_(var * count / max(1, count - 1), factor or 0.0)


def sync_batchnorm(module: M) -> M:
    """Replace every batch normalisation in ``module`` by a `SyncedBatchNorm`, in place.

    Parameters and buffers are kept; on one device nothing changes, to the bit. What `split_batchnorm` made stays.
    """
    from timm.layers import BatchNormAct2d  # seconds to import, needed only here

    plain = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, BatchNormAct2d)
    for name, child in list(module.named_children()):
        if isinstance(child, plain) and type(child) in plain:
            new = SyncedBatchNorm(
                child.num_features,
                eps=child.eps,
                momentum=child.momentum,
                affine=child.affine,
                track_running_stats=child.track_running_stats,
            )
            setattr(module, name, take_over(child, new))
        else:
            sync_batchnorm(child)
    return module
