"""Cross-entropy between teacher's and student's distributions over prototypes, and the centre of the teacher's."""

from __future__ import annotations

import torch
from torch import nn

from dbtssl.api import gather


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
