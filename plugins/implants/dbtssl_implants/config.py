"""Settings of the objective ``implants``, and the methods ``implants`` and ``implants-no-labels``."""

from __future__ import annotations

from pydantic import Field, field_validator

from dbtssl.api import Config, Method, PositiveRange, Shares

KINDS = ("blob", "spiculated", "rays", "warp", "foreign", "distortion")


class ImplantsConfig(Config):
    """Sizes are mm in the breast; the defaults are those of the recipe study, but amplitudes are in tissue SDs."""

    presence: float = Field(default=1.0, ge=0, description="weight of the presence loss")
    place: float = Field(default=1.0, ge=0, description="weight of the mask loss")
    contrast: float = Field(default=0.2, ge=0, description="weight of the twin contrast")
    across: float = Field(
        default=0.0,
        ge=0,
        description="weight of the contrast of two volumes' clean crops, where the positive is of another volume",
    )
    dense: float = Field(
        default=0.0,
        ge=0,
        description="weight of the contrast of places: the same tissue in the clean crops of two slices of a "
        "volume",
    )
    temperature: float = Field(default=0.2, gt=0, description="of all contrasts")
    dim: int = Field(default=64, ge=1, description="size of the projected features")
    hidden: int = Field(default=128, ge=1, description="width of projection and mask head")
    kinds: tuple[float, float, float, float, float, float] = Field(
        default=(0.35, 0.35, 0.05, 0.1, 0.15, 0.0),
        description=f"how often each kind is painted: {', '.join(KINDS)}",
    )
    radius: PositiveRange = Field(
        default=(3.2, 14.0), description="smallest and largest radius, mm"
    )
    amplitude: PositiveRange = Field(
        default=(0.3, 2.0),
        description="least and most contrast, in SDs of the view's tissue, before noise",
    )
    easy: float = Field(
        default=1.0,
        ge=1,
        description="contrast of all that is painted at first, as a multiple; it falls to 1, evenly on a log "
        "scale, until half of the training is done",
    )
    p_dark: float = Field(default=0.15, ge=0, le=1, description="share darker than the tissue")
    decoys: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of spots with a harmless thing (cyst, node, vessel, calcifications) in all crops",
    )
    stretched: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of spots whose tissue is stretched along a line in all crops, which is harmless",
    )
    hardest: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="share of the crops without object, those of the highest loss, in the presence loss",
    )
    height_mm: float = Field(
        default=245.0, gt=0, description="mm along the rows of a whole slice (Hologic: 245)"
    )
    slice_mm: float = Field(
        default=1.0, gt=0, description="mm between slices; BCS-DBT's headers carry none"
    )
    crop_size: int = Field(default=224, ge=16, description="pixels of a crop that is seen")
    margin: float = Field(
        default=1.25, ge=1, le=2, description="side of the loaded view, in crops that are seen"
    )
    crop_scale: Shares = Field(
        default=(0.1, 0.4), description="share of the crop box's area in a loaded view"
    )
    smallest: float = Field(
        default=0.65, gt=0, le=1, description="smallest side of a crop, as a share of the view"
    )
    flip: float = Field(default=0.5, ge=0, le=1, description="probability of a flip")
    min_tissue: float = Field(default=0.3, ge=0, le=1, description="least tissue share of a view")
    brightness: float = Field(default=0.25, ge=0, le=1, description="half width of the factor")
    contrast_jitter: float = Field(
        default=0.25, ge=0, le=1, description="half width of the contrast's factor"
    )
    p_jitter: float = Field(default=0.8, ge=0, le=1, description="probability of both together")
    noise: float = Field(
        default=0.02, ge=0, description="SD of noise, of the range, added after painting"
    )

    @field_validator("kinds")
    @classmethod
    def _weights(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if min(value) < 0 or sum(value) <= 0:
            raise ValueError(f"{len(KINDS)} numbers from 0, not all 0")
        return value


VIEWS = {"crop_size": 448}
PRETRAIN = {
    "epochs": 400,
    "batch_size": 64,
    "slices_per_volume": 1,
    "optimizer": "adamw",
    "lr": 2e-3,
    "weight_decay": 1e-3,
    "warmup_epochs": 20.0,
    "min_lr": 0.0,
}

IMPLANTS = Method(
    summary="painted objects, then fine-tuning from the presence head",
    objective="implants",
    sampler="inter-slice",
    finetuner="presence",
    objective_config=VIEWS,
    sampler_config={"reach": 2},
    pretrain=PRETRAIN,
    paper="of this project, unpublished",
)
NO_LABELS = IMPLANTS.model_copy(
    update={
        "summary": "painted objects alone: the presence head as it is, no label read",
        "finetuner_config": {"use": "head"},
    }
)
