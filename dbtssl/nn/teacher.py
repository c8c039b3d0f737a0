"""The momentum teacher: a copy of the student whose weights follow it slowly (MoCo, section 3.2, equation 2)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import nn


class MomentumTeacher(nn.Module):
    """A copy of ``student`` with ``theta <- m * theta + (1 - m) * theta_student``; it is called without gradients.

    As in MoCo's code the average covers parameters only: buffers, such as the running statistics of batch
    normalisation, are the teacher's own. The teacher starts equal to the student, and is in its ``state_dict``.
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.module = deepcopy(student).requires_grad_(False)

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Whatever the student's forward gives, from the teacher's weights."""
        return self.module(*args, **kwargs)

    @torch.no_grad()
    def update(self, student: nn.Module, momentum: float) -> None:
        """Move towards ``student``; ``momentum`` 1 stays, 0 copies."""
        for mine, theirs in zip(self.module.parameters(), student.parameters(), strict=True):
            mine.lerp_(theirs, 1.0 - momentum)
