"""What a phantom cohort is made from: patients, resolution, prevalence, and how scanners differ."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dbtssl.config import Config, digest

FORMAT = 4  # raised with every change that alters a byte of a cohort's files
FIELD_OF_VIEW = 245.0  # mm along the chest wall: 2457 rows of 0.0997 mm in BCS-DBT
COLUMNS_PER_ROW = 1996 / 2457  # the wider of the two matrices of BCS-DBT
FINEST_SPACING = 1.0  # mm between reconstructed slices on the Selenia Dimensions
SPACING_TIMES_ROWS = 512.0  # mm: 256 rows get slices 2 mm apart
# full: the middle of a lesion over its surroundings, in grey levels at 10 25 50 75 90 %, is 14 35 62 92 125 at
# 192 rows; 10 38 44 84 145 in the ten boxes of BCS-DBT whose slices were at hand
CONTRAST = {"plain": (0.6, 1.1), "full": (1.1, 1.5)}


class PhantomConfig(Config):
    """A cohort of phantom patients. The same configuration gives the same bytes."""

    patients: int = Field(default=80, ge=1, le=99_999, description="patients, 1 to 99999")
    seed: int = Field(default=0, ge=0, description="seed of every random number, 0 or more")
    rows: int = Field(
        default=256,
        ge=64,
        le=2457,
        description="pixels along the chest wall (245 mm), 64 to 2457; 2457 is the size of BCS-DBT",
    )
    spacing: float | None = Field(
        default=None,
        ge=0.5,
        le=10.0,
        description="mm between slices, 0.5 to 10; none means max(1, 512 / rows)",
    )
    anatomy: Literal["plain", "full"] = Field(
        default="full",
        description="full: with vessels, lymph nodes, cysts, islands of fat and of gland, calcifications, "
        "moles and marker rings in ill and healthy breasts alike; plain: none of these, one build for all",
    )
    prevalence: Literal["bcs", "balanced"] = Field(
        default="balanced",
        description="bcs: 5.0 % actionable, 2.0 % benign, 1.6 % cancer, as in BCS-DBT; "
        "balanced: a quarter benign, a quarter cancer",
    )
    contrast: tuple[float, float] | None = Field(
        default=None,
        description="range of the lesions' contrast, within 0 to 1.5, 1 is invasive cancer in fat; "
        "none means 0.6 to 1.1 in the plain anatomy, 1.1 to 1.5 in the full one",
    )
    repeat_study: float = Field(
        default=0.1, ge=0, le=1, description="share of patients with a second study, 0 to 1"
    )
    missing_view: float = Field(
        default=0.05, ge=0, le=1, description="share of studies that lack one of four views, 0 to 1"
    )
    nuisance: float = Field(
        default=1.0,
        ge=0,
        le=3,
        description="strength of the differences between scanners and positionings, 0 to 3",
    )

    @model_validator(mode="after")
    def _ordered(self) -> PhantomConfig:
        low, high = self.contrasts
        if not 0 <= low <= high <= 1.5:
            raise ValueError(f"contrast {self.contrasts}: 0 <= low <= high <= 1.5")
        return self

    @property
    def cohort(self) -> str:
        """Name of the cohort, from which its UIDs are made; a plain one keeps that of format 1."""
        fields = self.model_dump(mode="json")
        if self.anatomy == "plain":
            del fields["anatomy"]
            fields["contrast"] = self.contrasts
        return digest(fields)

    @property
    def contrasts(self) -> tuple[float, float]:
        """Range of the lesions' contrast."""
        return self.contrast or CONTRAST[self.anatomy]

    @property
    def columns(self) -> int:
        """Pixels from the chest wall outwards: even, in the ratio of BCS-DBT."""
        return 2 * round(self.rows * COLUMNS_PER_ROW / 2)

    @property
    def pixel(self) -> float:
        """Side of a pixel in mm, at the height of the middle of the stack."""
        return FIELD_OF_VIEW / self.rows

    @property
    def slice_spacing(self) -> float:
        """Distance of neighbouring slices in mm."""
        if self.spacing is not None:
            return self.spacing
        return max(FINEST_SPACING, SPACING_TIMES_ROWS / self.rows)
