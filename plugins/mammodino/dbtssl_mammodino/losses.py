"""Cross-entropy between teacher's and student's distributions over prototypes, and the centre of the teacher's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from dbtssl.api import Queue, add_keys, full_precision, gather, info_nce, own_keys, world_size
from dbtssl_mammodino.config import CROSS

if TYPE_CHECKING:
    from dbtssl.api import Batch, ExcludedKeys


def cross_entropy(
    teacher: torch.Tensor,
    student: torch.Tensor,
    center: torch.Tensor,
    teacher_temp: float,
    student_temp: float,
) -> torch.Tensor:
    """Cross-entropy of each row, ``(...)``, of logits ``(..., K)``; only ``teacher`` is centred (DINO, section 3.1)."""
    target = ((teacher - center) / teacher_temp).softmax(dim=-1)
    return -(target * (student / student_temp).log_softmax(dim=-1)).sum(dim=-1)


@torch.no_grad()
def information(logits: torch.Tensor) -> torch.Tensor:
    """What the distributions ``softmax(logits)`` of ``(N, K)`` tell of their row, in nats, a scalar.

    The entropy of their mean less the mean of their entropies: 0 where all rows have one distribution, be it flat or
    one-hot, at most ``log(min(N, K))``.
    """
    log_p = logits.log_softmax(dim=-1)
    p = log_p.exp()
    mean = p.mean(dim=0)
    return -(mean * mean.clamp_min(1e-30).log()).sum() + (p * log_p).sum(dim=-1).mean()


class Center(nn.Module):
    """Moving average of the teacher's outputs ``(N, K)``, where ``N`` differs from step to step and may be 0.

    lightly's `Center` becomes NaN for good at ``N`` 0, and averages devices without regard to their ``N``. All of it is
    float32: a tenth of a step in a mean of cosines is less than what bf16 resolves.
    """

    value: torch.Tensor

    def __init__(self, prototypes: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", torch.zeros(prototypes))

    @torch.no_grad()
    def update(self, outputs: torch.Tensor) -> None:
        """Move by the mean of the ``outputs`` of all devices; stay if there are none."""
        sums = torch.cat([outputs.float().sum(dim=0), outputs.new_tensor([len(outputs)]).float()])
        total = gather(sums[None]).sum(dim=0)  # K + 1
        mean = total[:-1] / total[-1].clamp_min(1.0)
        moved = self.momentum * self.value + (1.0 - self.momentum) * mean
        self.value.copy_(torch.where(total[-1] > 0, moved, self.value))


def patch_loss(
    teacher: torch.Tensor,
    student: torch.Tensor,
    counted: torch.Tensor,
    center: torch.Tensor,
    teacher_temp: float,
    student_temp: float,
    images: torch.Tensor | int,
) -> torch.Tensor:
    """The mean over the counted patches of each image, added up and divided by ``images``; a scalar.

    ``teacher`` and ``student`` are the logits ``(n, K)`` of the ``n`` patches where ``counted`` ``(N, h * w)`` is true,
    in its order. DINOv2 divides by all images, masked or not. No patch gives 0, with a gradient of 0.
    """
    loss = cross_entropy(teacher, student, center, teacher_temp, student_temp)  # n
    in_image = counted.sum(dim=1, keepdim=True).clamp_min(1)
    weight = (1.0 / in_image).expand(counted.shape)[counted]
    return (loss * weight).sum() / images


Pair = tuple["torch.Tensor", "torch.Tensor"]


def consistency(
    teacher: Pair, student: Pair, center: torch.Tensor, teacher_temp: float, student_temp: float
) -> torch.Tensor:
    """The mean of both directions; ``teacher`` and ``student`` are logits of (anchor, positive), each ``(B, K)``.

    DINO's loss between two slices instead of two crops, with the image head, its centre and its temperatures.
    """
    there = cross_entropy(teacher[0], student[1], center, teacher_temp, student_temp)
    back = cross_entropy(teacher[1], student[0], center, teacher_temp, student_temp)
    return 0.5 * (there.mean() + back.mean())


ANCHOR = 0  # the view that asks


class Contrast(nn.Module):
    """Momentum contrast between slices (MoCo, equation 1): the query is the student's, the key the teacher's.

    Slices of one patient are nearly copies of each other: with all keys as negatives a query's own neighbours would be
    pushed away. ``exclude`` leaves out those of its volume, breast or patient.
    """

    def __init__(
        self,
        dim: int,
        queue_size: int,
        temperature: float,
        exclude: ExcludedKeys,
    ) -> None:
        super().__init__()
        self.queue = Queue(queue_size, dim)
        self.temperature, self.exclude = temperature, exclude

    def forward(self, query: torch.Tensor, key: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The loss of projections ``(B, D)`` of anchors and positives; then the queue takes all devices' keys in."""
        q, k = F.normalize(query, dim=1), F.normalize(key, dim=1)
        own = own_keys(self.queue, batch, ANCHOR, self.exclude)
        loss = info_nce(q, k, self.queue.keys, self.temperature, own)
        add_keys(self.queue, k, batch, CROSS)
        return loss


def counted_patches(batch: Batch, anchor: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Which patches count, ``(B, h * w)``: tissue in both slices, ``(B, h, w)`` each, in rows of one volume."""
    same = batch.volume[0] == batch.volume[CROSS]
    return (anchor & positive).flatten(1) & same[:, None]


def counted_rows(counted: torch.Tensor) -> torch.Tensor:
    """Rows with a patch that counts, at least 1, a scalar: the mean over devices, for DDP takes the mean of losses."""
    rows = gather(counted.any(dim=1)).sum()
    return rows.clamp_min(1) / world_size()


EPS = 1e-8  # DINOv2's


def koleo(features: torch.Tensor) -> torch.Tensor:
    """Minus the mean log distance of each unit row of ``features`` ``(B, C)`` to its nearest other; a scalar.

    The others are those of all devices, with their gradients: DINOv2 looks at each device's own, so that its loss
    depends on their number. Equal to lightly's `KoLeoLoss` on one device, with autocast off. Of one row there is no
    distance, and the loss is 0.
    """
    from lightly.utils import dist

    with full_precision(features):
        x = F.normalize(features.float(), dim=1, eps=EPS)
        everyone = torch.cat(dist.gather(x)) if dist.world_size() > 1 else x  # N x C
        if len(everyone) < 2:
            return 0.0 * x.sum()
        with torch.no_grad():
            cosines = x @ everyone.T
            own = torch.arange(len(x), device=x.device) + dist.rank() * len(x)
            nearest = cosines.scatter(1, own[:, None], -2.0).argmax(dim=1)
        distance = F.pairwise_distance(x, everyone[nearest], eps=EPS)
        return -(distance + EPS).log().mean()
