"""Settings of an objective's views: one crop of the anchor and one of its positive, as most objectives ask for them.

An objective whose `Config` is a `PairViews` gets its views from `pair_views`, so that the rows of a benchmark have the
same settings under the same names. The defaults are MoCo v2's on one channel.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from dbtssl.config import Config, config_of
from dbtssl.interfaces import Crop, Photometry, ViewSpec


def _shares(value: tuple[float, float]) -> tuple[float, float]:
    if not 0.0 < value[0] <= value[1] <= 1.0:
        raise ValueError("two rising shares above 0 and up to 1")
    return value


def _positive(value: tuple[float, float]) -> tuple[float, float]:
    if not 0.0 < value[0] <= value[1]:
        raise ValueError("two rising numbers above 0")
    return value


def _not_negative(value: tuple[float, float]) -> tuple[float, float]:
    if not 0.0 <= value[0] <= value[1]:
        raise ValueError("two rising numbers from 0")
    return value


Shares = Annotated[tuple[float, float], AfterValidator(_shares)]
"""Two rising fractions, above 0 and up to 1, as the type of a field."""

PositiveRange = Annotated[tuple[float, float], AfterValidator(_positive)]
"""Two rising numbers above 0, as the type of a field."""

SigmaRange = Annotated[tuple[float, float], AfterValidator(_not_negative)]
"""Two rising numbers from 0 on, as the type of a field."""


class PairViews(Config):
    """One crop of the anchor and one of its positive; grey-level ranges are half widths of a factor about 1."""

    crop_size: int = Field(default=224, ge=8, description="pixels of a view")
    crop_scale: Shares = Field(
        default=(0.2, 1.0), description="fraction of the crop box's area in a crop"
    )
    flip: float = Field(default=0.5, ge=0, le=1, description="probability of a flip along columns")
    rotation: float = Field(default=0.0, ge=0, le=180, description="largest turn in degrees")
    p_rotation: float = Field(default=0.0, ge=0, le=1, description="probability of a turn")
    min_tissue: float = Field(
        default=0.01, ge=0, le=1, description="least tissue fraction of a crop"
    )
    brightness: float = Field(default=0.4, ge=0, le=1, description="half width of the factor")
    contrast: float = Field(default=0.4, ge=0, le=1, description="half width of the factor")
    p_jitter: float = Field(default=0.8, ge=0, le=1, description="probability of both together")
    blur: SigmaRange = Field(
        default=(0.1, 2.0), description="range of the Gaussian's sigma in pixels of the view"
    )
    p_blur: float = Field(default=0.5, ge=0, le=1, description="probability of a blur")


def pair_views(config: PairViews | None = None, /, **fields: Any) -> tuple[ViewSpec, ViewSpec]:
    """View 0 of the anchor, view 1 of its positive, from a `PairViews` or from its fields as keywords."""
    c = config_of(PairViews, fields) if config is None else config
    crop = Crop(
        size=c.crop_size,
        scale=c.crop_scale,
        flip=c.flip,
        rotation=c.rotation,
        p_rotation=c.p_rotation,
        min_tissue=c.min_tissue,
    )
    light = Photometry(c.brightness, c.contrast, c.p_jitter, c.blur, c.p_blur)
    return (ViewSpec("anchor", crop, light), ViewSpec("positive", crop, light))
