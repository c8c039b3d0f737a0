"""Cross-slice term ``consistency``: two near slices have the same distribution over image prototypes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl_mammodino.prototypes import cross_entropy

if TYPE_CHECKING:
    import torch

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
