"""Random numbers of a sample by stream: which streams are whose, and draws from one after the other.

A view's photometry has 0 to 6; with one of these an object's radius would follow its view's brightness.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dbtssl.api import uniform

if TYPE_CHECKING:
    import torch

OBJECTS = range(100, 132)
WINDOWS = range(132, 148)
DECOYS = range(148, 180)
NOISE = 180  # and the next, as `normal` takes two
PLACES = range(182, 184)
STRETCHES = range(184, 192)


class Draws:
    """Uniform numbers from ``seeds`` ``(B,)`` alone; each call takes the next of ``streams``."""

    def __init__(self, seeds: torch.Tensor, streams: range) -> None:
        self.seeds = seeds
        self._streams = iter(streams)

    def between(self, low: float, high: float, *shape: int) -> torch.Tensor:
        """Uniform from ``low`` to ``high``, ``(B, *shape)``."""
        return low + (high - low) * uniform(self.seeds, next(self._streams), shape)

    def log_between(self, low: float, high: float) -> torch.Tensor:
        """Log-uniform from ``low`` to ``high``, ``(B,)``."""
        return self.between(math.log(low), math.log(high)).exp()

    def happens(self, p: float) -> torch.Tensor:
        """True with probability ``p``, ``(B,)``."""
        return self.between(0.0, 1.0) < p
