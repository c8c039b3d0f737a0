"""How a woman's breast is built: outline, gland, skin and muscle, which differ from one to the next.

The plain anatomy has one build for all. The ranges are ours, set by eye beside real slices of
BCS-DBT (`docs/phantom.md`), but where a source is named. Nothing here knows a label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.random import Generator

ROUNDNESS = (1.55, 2.2)  # exponent of the outline: 2 is an ellipse, 1 a triangle
STRETCH = (
    0.45,
    0.85,
)  # of tissue coordinates from chest wall to nipple: below 1, strands run there
CENTRE = ((0.50, 0.68), (-0.25, 0.10), (-0.15, 0.15))  # of the gland, in (s, p, q)
FALL = ((3.0, 9.0), (1.5, 6.0), (0.5, 3.0))  # of the gland's field about it
TILT = {"cc": (-0.10, 0.10), "mlo": (0.15, 0.45)}  # mm along the chest wall per mm of depth
NECK = (0.25, 0.55)  # how much narrower an MLO view is at the axilla
FOLD = (0.7, 10.0, 26.0)  # share of MLO views that show skin below the breast, and its size in mm
SKIN = (0.8, 1.7)  # mm of `Compression.depth`: skin is 0.7 to 2.2 mm thick (Huang 2008, mean 1.45)
NIPPLE = (1.0, 6.0)  # mm by which it stands out
UNEVEN = (0.004, 0.022)  # of the outline
MUSCLE = (0.32, 0.55)  # width at the top of the image, in lengths of the breast
MUSCLE_LENGTH = (2.1, 3.4)  # in its widths
MUSCLE_BELLY = (-7.0, 9.0)  # mm by which its edge bulges, or is hollow
MUSCLE_WEDGE = (14.0, 40.0)  # mm inside its edge at which it fills the whole thickness
MUSCLE_MIDDLE = (-0.5, 0.5)  # height of its middle, in half thicknesses
MUSCLE_FAT = (0.06, 0.24)  # fat between its fibres
MUSCLE_FADE = (8.0, 35.0)  # mm over which it thins out towards its edge


@dataclass(frozen=True, slots=True)
class Pattern:
    """The build of one breast, the same in all views and years."""

    stretch: float
    centre: tuple[float, float, float]
    fall: tuple[float, float, float]
    skin: float
    nipple: float
    uneven: float


@dataclass(frozen=True, slots=True)
class Pose:
    """What one view shows of the build: how tissue leans, axilla, fold below, and muscle."""

    tilt: float
    neck: float
    fold: float
    muscle_length: float
    muscle_belly: float
    muscle_wedge: float
    muscle_middle: float
    muscle_fat: float
    muscle_fade: float


def draw_pattern(rng: Generator) -> Pattern:
    """Draw the build of a breast."""
    return Pattern(
        stretch=float(rng.uniform(*STRETCH)),
        centre=_each(CENTRE, rng),
        fall=_each(FALL, rng),
        skin=float(rng.uniform(*SKIN)),
        nipple=float(rng.uniform(*NIPPLE)),
        uneven=float(rng.uniform(*UNEVEN)),
    )


def draw_roundness(rng: Generator) -> float:
    """Draw the exponent of the outline."""
    return float(rng.uniform(*ROUNDNESS))


def draw_pose(projection: str, rng: Generator) -> Pose:
    """Draw what a view makes of it."""
    mlo = projection == "mlo"
    share, *size = FOLD
    tilt, neck, fold = (float(rng.uniform(*limits)) for limits in (TILT[projection], NECK, size))
    folded = rng.random() < share
    muscle = [
        float(rng.uniform(*limits))
        for limits in (
            MUSCLE_LENGTH, MUSCLE_BELLY, MUSCLE_WEDGE, MUSCLE_MIDDLE, MUSCLE_FAT, MUSCLE_FADE,
        )
    ]  # fmt: skip
    return Pose(tilt, neck if mlo else 0.0, fold if mlo and folded else 0.0, *muscle)


def _each(
    limits: tuple[tuple[float, float], tuple[float, float], tuple[float, float]], rng: Generator
) -> tuple[float, float, float]:
    a, b, c = (float(rng.uniform(*pair)) for pair in limits)
    return a, b, c
