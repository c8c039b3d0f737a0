"""Batches over several devices: gather, and MoCo's shuffling. On one device the same functions do the obvious."""

from __future__ import annotations

import torch
from lightly.utils import dist


def world_size() -> int:
    """Processes that train together; 1 if nothing is distributed."""
    return int(dist.world_size())


def rank() -> int:
    """This process's number, from 0."""
    return int(dist.rank())


@torch.no_grad()
def gather(x: torch.Tensor) -> torch.Tensor:
    """``(B, ...)`` of every device, concatenated in the order of ranks; without gradients."""
    if world_size() == 1:
        return x
    from lightly.models.utils import concat_all_gather  # loads timm and torchvision

    joined: torch.Tensor = concat_all_gather(x.contiguous())
    return joined


def gather_with_gradient(x: torch.Tensor) -> torch.Tensor:
    """`gather` that lets gradients through, to every device's share.

    Where each device then computes the loss of the whole batch, the mean of the devices' gradients, which DDP takes, is
    the gradient of one device with all of it.
    """
    if world_size() == 1:
        return x
    joined: torch.Tensor = torch.cat(dist.gather(x.contiguous()))
    return joined


def shuffle(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Deal the images of all devices out again at random; also gives what `unshuffle` needs (MoCo, section 3.3).

    The permutation is drawn from torch's global generator of rank 0.
    """
    from lightly.models.utils import batch_shuffle

    shuffled, order = batch_shuffle(x, distributed=world_size() > 1)
    return shuffled, order


def unshuffle(x: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Undo `shuffle`: rows come back to the device and the place that they came from."""
    from lightly.models.utils import batch_unshuffle

    restored: torch.Tensor = batch_unshuffle(x, order, distributed=world_size() > 1)
    return restored
