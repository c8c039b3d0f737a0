"""The positive of a slice is the same slice: two augmentations of one image, as in MoCo."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.random import Generator

    from dbtssl.api import Cohort, SliceRef


class SameSlice:
    """The anchor itself."""

    def positive(self, anchor: SliceRef, cohort: Cohort, rng: Generator) -> SliceRef:
        """``anchor``, whatever ``cohort`` and ``rng``."""
        return anchor
