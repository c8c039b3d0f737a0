"""The views of all objectives here: a pair of crops, or multi-crop, with the same settings under the same names.

The augmentation is MoCo v2's on one channel in every objective, so that rows differ in their objective. What the papers
have besides is left out: solarisation (BYOL, Barlow Twins, VICReg, DINO) would turn tissue into air.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from dbtssl.api import Config as BaseConfig
from dbtssl.api import ConfigError, Crop, Photometry, ViewSpec

if TYPE_CHECKING:
    from torch import nn

Range = tuple[float, float]


class PairConfig(BaseConfig):
    """One crop of the anchor and one of its positive; grey-level ranges are half widths of a factor about 1."""

    crop_size: int = Field(default=224, ge=8, description="pixels of a view")
    crop_scale: Range = Field(default=(0.2, 1.0), description="share of the slice's area in a crop")
    flip: float = Field(default=0.5, ge=0, le=1, description="probability of a flip along columns")
    rotation: float = Field(default=0.0, ge=0, le=180, description="largest turn in degrees")
    p_rotation: float = Field(default=0.0, ge=0, le=1, description="probability of a turn")
    min_tissue: float = Field(default=0.01, ge=0, le=1, description="least tissue share of a crop")
    brightness: float = Field(default=0.4, ge=0, le=1, description="half width of the factor")
    contrast: float = Field(default=0.4, ge=0, le=1, description="half width of the factor")
    p_jitter: float = Field(default=0.8, ge=0, le=1, description="probability of both together")
    blur: Range = Field(
        default=(0.1, 2.0), description="range of the Gaussian's sigma in pixels of the view"
    )
    p_blur: float = Field(default=0.5, ge=0, le=1, description="probability of a blur")

    @field_validator("crop_scale")
    @classmethod
    def _share(cls, value: Range) -> Range:
        return rising_shares(value)

    @field_validator("blur")
    @classmethod
    def _sigma(cls, value: Range) -> Range:
        if not 0.0 <= value[0] <= value[1]:
            raise ValueError("two rising numbers from 0")
        return value


class MultiCropConfig(PairConfig):
    """Two global crops, one of the anchor and one of its positive, and local ones (DINO, section 3.1)."""

    crop_scale: Range = Field(
        default=(0.4, 1.0), description="share of the slice's area in a global crop"
    )
    local_views: int = Field(
        default=6, ge=0, le=32, description="local crops, of anchor and positive in turn"
    )
    local_size: int = Field(default=96, ge=8, description="pixels of a local view")
    local_scale: Range = Field(
        default=(0.05, 0.4), description="share of the slice's area in a local crop"
    )

    @field_validator("local_scale")
    @classmethod
    def _local_share(cls, value: Range) -> Range:
        return rising_shares(value)


def rising_shares(value: Range) -> Range:
    """``value`` if it is a range of shares above 0 and up to 1."""
    if not 0.0 < value[0] <= value[1] <= 1.0:
        raise ValueError("two rising shares above 0 and up to 1")
    return value


def pair(
    *,
    crop_size: int,
    crop_scale: Range,
    flip: float,
    rotation: float,
    p_rotation: float,
    min_tissue: float,
    brightness: float,
    contrast: float,
    p_jitter: float,
    blur: Range,
    p_blur: float,
) -> tuple[ViewSpec, ...]:
    """View 0 of the anchor, view 1 of its positive, from the fields of `PairConfig`."""
    crop = Crop(
        size=crop_size,
        scale=crop_scale,
        flip=flip,
        rotation=rotation,
        p_rotation=p_rotation,
        min_tissue=min_tissue,
    )
    light = Photometry(brightness, contrast, p_jitter, blur, p_blur)
    return (ViewSpec("anchor", crop, light), ViewSpec("positive", crop, light))


def multi_crop(
    *, local_views: int, local_size: int, local_scale: Range, **fields: Any
) -> tuple[ViewSpec, ...]:
    """Views 0 and 1 are the global ones of `pair`, the others local, from the fields of `MultiCropConfig`."""
    (local,) = {
        view.crop
        for view in pair(**(fields | {"crop_size": local_size, "crop_scale": local_scale}))
    }
    whole = pair(**fields)
    sources: tuple[Literal["anchor", "positive"], ...] = ("anchor", "positive")
    small = (ViewSpec(sources[i % 2], local, whole[0].photometry) for i in range(local_views))
    return (*whole, *small)


def check_sizes(encoder: nn.Module, views: tuple[ViewSpec, ...]) -> None:
    """Refuse views of several sizes for a transformer that takes one size alone."""
    embed = getattr(encoder, "patch_embed", None)
    sizes = sorted({view.crop.size for view in views})
    if getattr(embed, "strict_img_size", False) and len(sizes) > 1:
        raise ConfigError(
            f"views of {' and '.join(map(str, sizes))} pixels, but the encoder takes one size alone",
            hint="set backbone.args = { dynamic_img_size = true }, or local_size to crop_size",
        )
