"""The views: two large crops of the anchor, one of its positive where a term needs it, and small ones of the anchor.

DINOv2's own losses see the anchor alone, in every variant, so that the variants differ in the term between slices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.api import Crop, Photometry, ViewSpec

if TYPE_CHECKING:
    from dbtssl_mammodino.config import MammoDINOConfig

GLOBAL = 2  # views 0 and 1: large crops of the anchor
CROSS = 2  # the large crop of the positive, where there is one


def make_views(config: MammoDINOConfig) -> tuple[ViewSpec, ...]:
    """Global views, then that of the positive unless ``cross_slice`` is none, then local ones.

    For ``dense`` the view of the positive lies where view 0 does.
    """
    light = Photometry(
        config.brightness, config.contrast, config.p_jitter, config.blur, config.p_blur
    )
    large = _crop(config, config.crop_size, config.crop_scale, config.crop_tissue)
    small = _crop(config, config.local_size, config.local_scale, config.local_tissue)
    views = [ViewSpec("anchor", large, light) for _ in range(GLOBAL)]
    if config.cross_slice != "none":
        twin = 0 if config.cross_slice == "dense" else None
        views.append(ViewSpec("positive", large, light, same_crop_as=twin))
    views += [ViewSpec("anchor", small, light) for _ in range(config.local_views)]
    return tuple(views)


def _crop(
    config: MammoDINOConfig,
    size: int | tuple[int, int],
    scale: tuple[float, float],
    min_tissue: float,
) -> Crop:
    rows, columns = Crop(size).shape
    low, high = config.aspect
    return Crop(
        size=size,
        scale=scale,
        ratio=(low * columns / rows, high * columns / rows),
        flip=config.flip,
        rotation=config.rotation,
        p_rotation=config.p_rotation,
        min_tissue=min_tissue,
        tries=config.tries,
    )
