"""DINO (Caron et al., Emerging Properties in Self-Supervised Vision Transformers, arXiv:2104.14294).

After facebookresearch/dino, `main_dino.py`.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import nn

from dbtssl.api import (
    MomentumTeacher,
    Projected,
    Step,
    cosine_momentum,
    feature_std,
    full_precision,
    prototype_head,
    softmax_entropy,
    warmed_up,
)
from dbtssl_lightly_zoo.views import MultiCropConfig, by_size, check_sizes, multi_crop

if TYPE_CHECKING:
    from dbtssl.api import Batch

GLOBAL = 2  # views that the teacher sees: one of the anchor, one of its positive


class DINO(nn.Module):
    """The student matches the centred, sharpened outputs of a momentum teacher across global and local views."""

    class Config(MultiCropConfig):
        """Defaults of `main_dino.py`, which are for its `vit_small`; shares stand for its epochs, out of 100.

        Its README raises the teacher's temperature to 0.07 over 30 epochs for better results, and has another command
        for `resnet50` (global crops from 0.14 of the area, local ones up to 0.14). Temperature and frozen layer change
        with the step here, with the epoch there.
        """

        local_views: int = Field(
            default=8, ge=0, le=32, description="local crops, of anchor and positive in turn"
        )

        dim: int = Field(default=65536, ge=2, description="outputs of the head (prototypes)")
        hidden: int = Field(default=2048, ge=1, description="width of the head")
        bottleneck: int = Field(default=256, ge=1, description="features before the prototypes")
        batch_norm: bool = Field(
            default=False,
            description="batch normalisation in the head (--use_bn_in_head), for encoders that end without any",
        )
        norm_last_layer: bool = Field(
            default=True, description="prototypes of unit length; false learns their lengths"
        )
        freeze_last_layer: float = Field(
            default=0.01,
            ge=0,
            le=1,
            description="share of the training with fixed prototypes: no step, and no decay either",
        )
        student_temp: float = Field(default=0.1, gt=0, description="student's temperature")
        teacher_temp: float = Field(default=0.04, gt=0, description="teacher's, after the warm-up")
        warmup_teacher_temp: float = Field(default=0.04, gt=0, description="teacher's, at first")
        warmup: float = Field(
            default=0.0, ge=0, le=1, description="share of the training in which it rises linearly"
        )
        center_momentum: float = Field(default=0.9, ge=0, le=1, description="of the centre")
        momentum: float = Field(
            default=0.996, ge=0, le=1, description="of the teacher, at first; a cosine to 1"
        )

    def __init__(self, encoder: nn.Module, config: Config) -> None:
        super().__init__()
        from lightly.loss import DINOLoss

        self.config = c = config
        self.views = multi_crop(c)
        check_sizes(encoder, self.views)
        width: Any = encoder.num_features
        head = prototype_head(
            width,
            c.hidden,
            c.bottleneck,
            c.dim,
            batch_norm=c.batch_norm,
            norm_last_layer=c.norm_last_layer,
        )
        self.student = Projected(encoder, head)
        self.teacher = MomentumTeacher(self.student)
        self.loss = DINOLoss(c.dim, student_temp=c.student_temp, center_momentum=c.center_momentum)
        self.progress = 0.0

    def forward(self, batch: Batch) -> Step:
        """Cross-entropy of every student view with each global view of the teacher but itself (equation 3)."""
        teacher = list(self.teacher(torch.cat(batch.views[:GLOBAL])).chunk(GLOBAL))
        student = list(self.student(*by_size(batch.views)).chunk(len(batch.views)))
        temperature = self.temperature_at(self.progress)
        with full_precision(student[0]):
            targets = (torch.stack(teacher) - self.loss.center) / temperature
            loss = self.loss(teacher, student, teacher_temp=temperature)
        logs = {"teacher_entropy": softmax_entropy(targets), "feature_std": feature_std(student[0])}
        return Step(loss, logs)

    def before_step(self) -> None:
        """Leave the last layer out of the optimiser's step while it is frozen (`cancel_gradients_last_layer`)."""
        if self.progress < self.config.freeze_last_layer:
            for parameter in self.student.head.last_layer.parameters():  # type: ignore[union-attr]
                parameter.grad = None

    def after_step(self, progress: float) -> None:
        """Move the teacher; the temperature of the next step follows ``progress``."""
        self.progress = progress
        self.teacher.update(self.student, cosine_momentum(self.config.momentum, progress))

    def temperature_at(self, progress: float) -> float:
        """The teacher's temperature; ``progress`` runs from 0 to 1."""
        c = self.config
        return warmed_up(c.warmup_teacher_temp, c.teacher_temp, c.warmup, progress)

    def encoder(self) -> nn.Module:
        """A trainable copy of the teacher's encoder, which the paper evaluates."""
        encoder: nn.Module = deepcopy(self.teacher.module.encoder)  # type: ignore[assignment]
        return encoder.requires_grad_(True)

    def get_extra_state(self) -> torch.Tensor:
        """Progress, on which the next step's temperature depends."""
        return torch.tensor(self.progress, dtype=torch.float64)

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Go on from `get_extra_state`."""
        self.progress = float(state)
