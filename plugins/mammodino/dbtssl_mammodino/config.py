"""Settings of the objective ``mammodino``, its views, and the method ``mammodino``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dbtssl.api import (
    Config,
    Crop,
    ExcludedKeys,
    Method,
    Photometry,
    PositiveRange,
    Shares,
    SigmaRange,
    ViewSpec,
)

Side = Annotated[int, Field(ge=8)]


class MammoDINOConfig(Config):
    """Weights, heads, schedules, masks, cross-slice term and views; shares of the training stand for its epochs."""

    dino_weight: float = Field(default=1.0, gt=0, description="weight of the image-level loss")
    ibot_weight: float = Field(
        default=1.0,
        ge=0,
        description="weight of the patch-level loss; 0: no masks, unless for dense",
    )
    koleo_weight: float = Field(
        default=0.1, ge=0, description="weight of KoLeo on each global crop of the student"
    )

    cross_slice: Literal["none", "consistency", "contrastive", "dense"] = Field(
        default="contrastive",
        description="term between the anchor's slice and its positive's (ours): none: the positive is not looked at; "
        "consistency: cross-entropy of image prototypes, both ways; contrastive: InfoNCE with a queue; "
        "dense: cross-entropy of patch prototypes at the same place of the same volume, both ways",
    )
    cross_weight: float = Field(default=0.5, gt=0, description="weight of that term (ours)")
    contrast_dim: int = Field(
        default=128, ge=1, description="contrastive: size of the projected features (MoCo v2)"
    )
    contrast_temp: float = Field(
        default=0.2, gt=0, description="contrastive: divisor of the cosines (MoCo v2)"
    )
    queue_size: int = Field(default=8192, ge=1, description="contrastive: keys kept (ours)")
    exclude_negatives: ExcludedKeys = Field(
        default="patient",
        description="contrastive: keys that are no negatives of a query: those of its own ... (ours)",
    )

    prototypes: int = Field(default=65536, ge=2, description="outputs of the image head")
    patch_prototypes: int = Field(
        default=65536, ge=2, description="outputs of the patch head, which is its own"
    )
    hidden: int = Field(default=2048, ge=1, description="width of both heads")
    bottleneck: int = Field(default=256, ge=1, description="features before the prototypes")
    norm_last_layer: bool = Field(
        default=False, description="prototypes of unit length (DINO); false learns their lengths"
    )
    freeze_last_layer: float = Field(
        default=0.01, ge=0, le=1, description="share of the training with fixed prototypes"
    )
    student_temp: float = Field(default=0.1, gt=0, description="student's temperature")
    teacher_temp: float = Field(default=0.07, gt=0, description="teacher's, after the warm-up")
    warmup_teacher_temp: float = Field(default=0.04, gt=0, description="teacher's, at first")
    warmup: float = Field(
        default=0.3, ge=0, le=1, description="share of the training in which it rises linearly"
    )
    center_momentum: float = Field(default=0.9, ge=0, le=1, description="of both centres")
    momentum: float = Field(
        default=0.992, ge=0, le=1, description="of the teacher, at first; a cosine to 1"
    )

    mask_probability: float = Field(
        default=0.5, ge=0, le=1, description="share of the large views that the student sees masked"
    )
    mask_ratio: Shares = Field(
        default=(0.1, 0.5), description="share of the tissue patches of such a view that is masked"
    )
    min_visible: float = Field(
        default=0.4, ge=0, lt=1, description="least share of tissue patches left visible (ours)"
    )
    tissue_patch: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="share of tissue from which a patch counts as tissue (ours); 0: all do, as in DINOv2",
    )

    crop_size: Side | tuple[Side, Side] = Field(
        default=224, description="pixels of a large view: a square's side, or rows and columns"
    )
    crop_scale: Shares = Field(
        default=(0.32, 1.0), description="share of the crop box's area in a large view"
    )
    crop_tissue: float = Field(
        default=0.3, ge=0, le=1, description="least tissue share of a large view (as mammo-ood)"
    )
    local_views: int = Field(default=8, ge=0, le=32, description="local crops of the anchor")
    local_size: Side | tuple[Side, Side] = Field(
        default=96, description="pixels of a local view, as crop_size"
    )
    local_scale: Shares = Field(
        default=(0.05, 0.32), description="share of the crop box's area in a local view"
    )
    local_tissue: float = Field(
        default=0.3, ge=0, le=1, description="least tissue share of a local view (as mammo-ood)"
    )
    tries: int = Field(
        default=20, ge=1, description="crops tried for the tissue share, else the best (mammo-ood)"
    )
    aspect: PositiveRange = Field(
        default=(3 / 4, 4 / 3),
        description="width to height of a crop on the slice, over that of its view: 1 keeps shapes",
    )
    flip: float = Field(default=0.5, ge=0, le=1, description="probability of a flip along columns")
    rotation: float = Field(
        default=0.0, ge=0, le=180, description="largest turn in degrees, with p_rotation"
    )
    p_rotation: float = Field(default=0.0, ge=0, le=1, description="probability of a turn")
    brightness: float = Field(
        default=0.16, ge=0, le=1, description="half width of the factor (as SIFT-DBT, released)"
    )
    contrast: float = Field(
        default=0.16, ge=0, le=1, description="half width of the factor (as SIFT-DBT, released)"
    )
    p_jitter: float = Field(default=0.8, ge=0, le=1, description="probability of both together")
    blur: SigmaRange = Field(
        default=(0.1, 2.0), description="range of the Gaussian's sigma in pixels, with p_blur"
    )
    p_blur: float = Field(
        default=0.0, ge=0, le=1, description="probability of a blur: it can erase calcifications"
    )


PAPER = (
    "Zhou, Wu, Xiao, Bhatia, Kass-Hout: MammoDINO, ICASSP 2026, arXiv:2510.11883, "
    "doi:10.1109/ICASSP55912.2026.11463730"
)

# DINOv2's short schedule (`ssl_default_config.yaml`): 4e-3 * sqrt(batch / 1024)
PRETRAIN = {
    "epochs": 100,
    "batch_size": 128,
    "optimizer": "adamw",
    "lr": 4e-3 * (128 / 1024) ** 0.5,
    "min_lr": 1e-6,
    "weight_decay": 0.04,
    "weight_decay_end": 0.4,
    "decay_bias_norm": False,
    "clip_norm": 3.0,  # of all gradients together; DINOv2 clips each sub-module's
    "warmup_epochs": 10.0,
}

MAMMODINO = Method(
    summary="DINOv2 on tissue and adjacent slices, after MammoDINO",
    objective="mammodino",
    sampler="adjacent-slices",
    pretrain=PRETRAIN,
    presets={
        "none": {"objective": {"cross_slice": "none"}},
        "consistency": {"objective": {"cross_slice": "consistency"}},
        "contrastive": {"objective": {"cross_slice": "contrastive"}},
        "dense": {"objective": {"cross_slice": "dense"}},
    },
    paper=PAPER,
    reference="none is published; DINOv2's parts after facebookresearch/dinov2",
)

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
