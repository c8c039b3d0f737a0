"""Positive pairs from metadata (SIFT-DBT, section 2.2; released code, `dataset/BCS_DBT_cls_dataset.py:281-357`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from dbtssl.api import Config as BaseConfig
from dbtssl.api import SliceRef

if TYPE_CHECKING:
    from numpy.random import Generator

    from dbtssl.api import Cohort


class MetadataPairs:
    """The other CC/MLO view of the same breast in the same study, or else a slice near the anchor.

    Other breasts and other studies are never drawn. In the other view every slice is equally likely: depths of two
    views do not correspond. Where a breast has no other view, the positive is near the anchor.
    """

    class Config(BaseConfig):
        """How often the other view is drawn, and what near means."""

        p_view: float = Field(
            default=0.5, ge=0, le=1, description="probability of the other view (released: 0.5)"
        )
        reach: int = Field(
            default=4, ge=0, description="slices that near reaches to both sides (--positive-range)"
        )
        half_open: bool = Field(
            default=False, description="leave out the last slice above, as the released code does"
        )

    def __init__(self, *, p_view: float, reach: int, half_open: bool) -> None:
        self.p_view, self.reach, self.half_open = p_view, reach, half_open

    def positive(self, anchor: SliceRef, cohort: Cohort, rng: Generator) -> SliceRef:
        """Draw the positive of ``anchor``; of several volumes of the other view each is equally likely."""
        others = cohort.other_projection(anchor.volume)
        if rng.random() < self.p_view and others:
            volume = others[int(rng.integers(len(others)))]
            return SliceRef(volume, int(rng.integers(cohort[volume].n_slices)))
        near = neighbours(anchor, self.reach, cohort, half_open=self.half_open)
        return SliceRef(anchor.volume, int(rng.integers(near.start, near.stop)))


def neighbours(slice_: SliceRef, reach: int, cohort: Cohort, *, half_open: bool = False) -> range:
    """Slices of the same volume within ``reach`` of ``slice_``, itself included.

    ``reach`` is in slices, not millimetres: BCS-DBT headers carry no spacing. The range is cut at the ends of the
    volume. ``half_open`` leaves out ``z + reach``, as the released code does (`BCS_DBT_cls_dataset.py:281`).
    """
    n = cohort[slice_.volume].n_slices
    above = slice_.z + reach if half_open else slice_.z + reach + 1
    return range(max(0, slice_.z - reach), max(slice_.z + 1, min(n, above)))
