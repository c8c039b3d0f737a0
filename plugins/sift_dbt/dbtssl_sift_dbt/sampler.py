"""Positive pairs from metadata (SIFT-DBT, section 2.2; released code, `dataset/BCS_DBT_cls_dataset.py:281-357`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dbtssl.api import Config as BaseConfig
from dbtssl.api import SliceRef, neighbours

if TYPE_CHECKING:
    from numpy.random import Generator

    from dbtssl.api import Cohort


class MetadataPairs:
    """The other CC/MLO view of the same breast in the same study, or else a slice near the anchor.

    Other breasts and other studies are never drawn. Where a breast has no other view, the positive is near the anchor.

    In the other view every slice is equally likely, for depths of CC and MLO do not correspond anatomically: each is
    measured along its own direction of compression, and what lies in one CC slice is spread over many MLO slices.
    ``matched`` takes the slice at the same relative depth all the same. That is no match of tissue; the two slices are
    alike in what depth itself decides, whether they lie near a compressed surface or in the middle of the breast. It is
    there to tell how much of what these pairs teach is to ignore depth.
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
        depth: Literal["uniform", "matched"] = Field(
            default="uniform",
            description="slice of the other view: any (as released), or the one at the anchor's relative depth",
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def positive(self, anchor: SliceRef, cohort: Cohort, rng: Generator) -> SliceRef:
        """Draw the positive of ``anchor``; of several volumes of the other view each is equally likely."""
        c, others = self.config, cohort.other_projection(anchor.volume)
        if rng.random() < c.p_view and others:
            volume = others[int(rng.integers(len(others)))]
            if c.depth == "matched":
                return SliceRef(volume, matched(anchor, volume, cohort))
            return SliceRef(volume, int(rng.integers(cohort[volume].n_slices)))
        near = neighbours(anchor, c.reach, cohort, half_open=c.half_open)
        return SliceRef(anchor.volume, int(rng.integers(near.start, near.stop)))

    def has_partner(self, volume: int, cohort: Cohort) -> bool:
        """Whether the breast of ``volume`` has another view in the same study."""
        return bool(cohort.other_projection(volume))


def matched(slice_: SliceRef, volume: int, cohort: Cohort) -> int:
    """The slice of ``volume`` at the relative depth ``(z + 0.5) / n`` of ``slice_``."""
    n = cohort[slice_.volume].n_slices
    return (2 * slice_.z + 1) * cohort[volume].n_slices // (2 * n)
