"""Settings of the objective. Without another source they are DINOv2's short schedule (`ssl_default_config.yaml`).

MammoDINO publishes no settings: what is not DINOv2's is ours, and says so.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dbtssl.api import Config, PositiveRange, Shares, SigmaRange

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
    exclude_negatives: Literal["none", "volume", "breast", "patient"] = Field(
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
