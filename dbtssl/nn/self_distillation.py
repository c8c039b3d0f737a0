"""What methods with a teacher share: its momentum and temperature over the training, and the head of prototypes.

``progress`` runs from 0 to 1.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch


def cosine_momentum(start: float, progress: float) -> float:
    """The momentum, from ``start`` to 1 along a cosine (BYOL, section 3.3; DINO, section 3.1)."""
    return 1.0 - (1.0 - start) * (1.0 + math.cos(math.pi * progress)) / 2.0


def warmed_up(start: float, end: float, warmup: float, progress: float) -> float:
    """The temperature, linear from ``start`` to ``end`` in the fraction ``warmup`` of the training, then constant.

    DINO's warm-up of the teacher's temperature (section 3.1, implementation details).
    """
    if progress >= warmup:
        return end
    return start + (end - start) * progress / warmup


def prototype_head(
    width: int,
    hidden: int,
    bottleneck: int,
    prototypes: int,
    *,
    batch_norm: bool = False,
    norm_last_layer: bool,
) -> Any:
    """lightly's head of DINO, ``(N, width)`` to ``(N, prototypes)``: three layers, a unit bottleneck, prototypes.

    Its ``last_layer`` holds the prototypes, of unit length with ``norm_last_layer``. It is made without gradients, so
    that the weight-normalised layer can be copied into a teacher.
    """
    from lightly.models.modules.heads import DINOProjectionHead

    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*weight_norm", FutureWarning)
        return DINOProjectionHead(
            width, hidden, bottleneck, prototypes, batch_norm, norm_last_layer=norm_last_layer
        )
