"""The patch-level loss of iBOT (Zhou et al., arXiv:2111.07832, equation 3), as in DINOv2's `ibot_patch_loss.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl_mammodino.prototypes import cross_entropy

if TYPE_CHECKING:
    import torch


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
