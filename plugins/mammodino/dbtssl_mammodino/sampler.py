"""Pairs of neighbouring slices, never a slice with itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from dbtssl.api import Config as BaseConfig
from dbtssl.api import SliceRef, neighbours

if TYPE_CHECKING:
    from numpy.random import Generator

    from dbtssl.api import Cohort


class AdjacentSlices:
    """A slice at a distance of 1 to ``reach`` from the anchor in the same volume, each equally likely.

    The range is cut at the ends of the volume, where the positive lies to one side. In a volume of one slice the
    positive is the anchor itself; the share of such volumes is ``no_partner`` in the log. MammoDINO does not say how
    far adjacent reaches; 4 slices is SIFT-DBT's (``--positive-range``).
    """

    class Config(BaseConfig):
        """What adjacent means."""

        reach: int = Field(
            default=4, ge=1, description="slices that adjacent reaches to both sides"
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def positive(self, anchor: SliceRef, cohort: Cohort, rng: Generator) -> SliceRef:
        """Draw the positive of ``anchor``."""
        near = neighbours(anchor, self.config.reach, cohort)
        if len(near) == 1:
            return anchor
        z = int(rng.integers(near.start, near.stop - 1))
        return SliceRef(anchor.volume, z + (z >= anchor.z))  # the range without the anchor

    def has_partner(self, volume: int, cohort: Cohort) -> bool:
        """Whether the volume has another slice."""
        return cohort[volume].n_slices > 1
