"""The momentum of a teacher over the training."""

from __future__ import annotations

import math


def cosine_momentum(start: float, progress: float) -> float:
    """From ``start`` to 1 along a cosine; ``progress`` runs from 0 to 1 (BYOL, section 3.3; DINO, section 3.1)."""
    return 1.0 - (1.0 - start) * (1.0 + math.cos(math.pi * progress)) / 2.0
