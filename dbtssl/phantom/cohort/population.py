"""Subjects, breasts, scanners and positionings: the laws from which a cohort is drawn.

Nothing here knows a label. Every random number comes from (seed, patient, purpose).
"""

from __future__ import annotations

import math
from dataclasses import replace
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dbtssl.phantom.findings import benign as innocent
from dbtssl.phantom.findings.calcifications import VASCULAR
from dbtssl.phantom.model.pattern import MUSCLE, draw_pattern, draw_pose, draw_roundness
from dbtssl.phantom.model.subject import (
    CURVE,
    FLOOR,
    FULL_CURVE,
    FULL_FLOOR,
    FULL_RAMP,
    PHOTONS,
    RAMP,
    Breast,
    Innocent,
    Positioning,
    Projection,
    Technique,
)

if TYPE_CHECKING:
    from numpy.random import Generator

    from dbtssl.phantom.model.phantom_config import PhantomConfig

# median, log sd, limits: mean 19 %, 80 % below 27 %, 95 % below 45 % (Yaffe 2009, PMC2787062)
DENSITY = (0.165, 0.57, 0.04, 0.60)
THICKNESS = (59.0, 16.0, 30.0, 88.0)  # mm: mean and sd (Yaffe 2009), limits
THICKNESS_ON_DENSITY = -0.4  # correlation: dense breasts are thin
SIZE = (1.1, 0.17, 0.10, 0.75, 1.45)  # factor: mean, sd, slope on thickness, limits
DEPTH, WIDTH = 90.0, 88.0  # mm at size 1
BETA = (2.8, 0.2, 2.3, 3.3)  # mean, sd, limits
LOBULE = (9.0, 17.0)  # mm
ROUNDNESS, LEAN = (1.95, 2.5), 0.06
YEARLY_LOSS = 0.02  # of density
YEARS = (1.0, 2.0)  # between two studies
BREAST_SD = (0.06, 0.04, 0.04)  # log sd of a breast's density, depth and width about the subject's
DOSE = (0.5, 1.5)  # factor of the photons
SCANNER_SD = (0.15, 0.10, 0.03, 0.10)  # log sd of ramp, floor, gain and gamma
POSITION_SD = (4.0, 0.05, 6.0, 0.04)  # degrees of roll, log squeeze, mm of shift, log pull
PECTORAL = (0.30, 0.55)  # range of the muscle's width in lengths of the breast


class Purpose(IntEnum):
    """Streams of random numbers; a new purpose does not disturb the others."""

    LABELS = 1
    SUBJECT = 2
    BREAST = 3
    STUDY = 4
    VIEW = 5
    LESION = 6
    PATTERN = 7
    POSE = 8
    INNOCENT = 9


class Subject(NamedTuple):
    """What a subject's two breasts have in common; sizes are in mm or factors."""

    density: float
    thickness: float
    size: float
    beta: float
    lobule: float
    twin: int
    years: float | None  # until the second study
    side: int  # where a lesion would be


def draw_subject(config: PhantomConfig, i: int) -> Subject:
    """Draw patient ``i``."""
    rng = stream(config, i, Purpose.SUBJECT)
    dense, thick, large = rng.normal(size=3)
    correlation = THICKNESS_ON_DENSITY
    thick = correlation * dense + math.sqrt(1 - correlation**2) * thick
    median, log_sd, *density_limits = DENSITY
    mean, sd, slope, *size_limits = SIZE
    again = rng.random() < config.repeat_study
    years = float(rng.uniform(*YEARS))
    return Subject(
        density=_within(median * math.exp(log_sd * dense), *density_limits),
        thickness=_within(THICKNESS[0] + THICKNESS[1] * thick, *THICKNESS[2:]),
        size=_within(mean + sd * large + slope * thick, *size_limits),
        beta=_within(rng.normal(*BETA[:2]), *BETA[2:]),
        lobule=float(rng.uniform(*LOBULE)),
        twin=int(rng.integers(1 << 31)),
        years=years if again else None,
        side=int(rng.integers(2)),
    )


def draw_breast(config: PhantomConfig, i: int, subject: Subject, side: int, years: float) -> Breast:
    """Draw the left (0) or right (1) breast after ``years``: the same tissue, less dense."""
    rng = stream(config, i, Purpose.BREAST, side)
    density, depth, width = np.exp(rng.normal(0, BREAST_SD))
    breast = Breast(
        seed=int(rng.integers(1 << 31)),
        twin=subject.twin,
        density=subject.density * float(density) * (1 - YEARLY_LOSS) ** years,
        depth=DEPTH * subject.size * float(depth),
        width=WIDTH * subject.size * float(width),
        thickness=subject.thickness,
        beta=subject.beta,
        lobule=subject.lobule,
        roundness=float(rng.uniform(*ROUNDNESS)),
        lean=float(rng.normal(0, LEAN)),
    )
    if config.anatomy == "plain":
        return breast
    rng = stream(config, i, Purpose.PATTERN)  # of the subject: her breasts are built alike
    return replace(breast, pattern=draw_pattern(rng), roundness=draw_roundness(rng))


def draw_innocent(config: PhantomConfig, i: int, subject: Subject, side: int) -> Innocent | None:
    """Draw all in a breast that is no lesion; none in the plain anatomy."""
    if config.anatomy == "plain":
        return None
    calcified = stream(config, i, Purpose.INNOCENT).random() < VASCULAR
    rng = stream(config, i, Purpose.INNOCENT, side + 1)
    return innocent.draw(rng, subject.density, side == 0, bool(calcified))


def draw_technique(config: PhantomConfig, rng: Generator) -> Technique:
    """The scanner of a study: dose, kernel and display, which augmentation can hardly imitate."""
    strength, plain = config.nuisance, config.anatomy == "plain"
    ramp, floor, gain, gamma = np.exp(strength * rng.normal(0, SCANNER_SD))
    return Technique(
        photons=PHOTONS * float(rng.uniform(*DOSE)) ** strength,
        ramp=(RAMP if plain else FULL_RAMP) * float(ramp),
        floor=(FLOOR if plain else FULL_FLOOR) * float(floor),
        gain=float(gain),
        gamma=float(gamma),
        curve=CURVE if plain else FULL_CURVE,
    )


def draw_positioning(
    config: PhantomConfig, rng: Generator, projection: Projection, left: bool, pose_rng: Generator
) -> Positioning:
    """Draw how a breast is placed for one view; ``pose_rng`` is for what the full anatomy adds."""
    roll, squeeze, shift, pull = config.nuisance * rng.normal(0, POSITION_SD)
    positioning = Positioning(
        projection=projection,
        left=left,
        roll=float(roll),
        squeeze=math.exp(squeeze),
        shift=float(shift),
        pull=math.exp(pull),
        pectoral=float(rng.uniform(*PECTORAL)),
    )
    if config.anatomy == "plain":
        return positioning
    pose = draw_pose(projection, pose_rng)
    return replace(positioning, pose=pose, pectoral=float(pose_rng.uniform(*MUSCLE)))


def _within(value: float, low: float, high: float) -> float:
    return float(min(max(value, low), high))


def stream(config: PhantomConfig, patient: int, purpose: Purpose, *more: int) -> Generator:
    """Random numbers of one purpose for one patient, and for what ``more`` counts within it."""
    return np.random.default_rng([config.seed, patient, int(purpose), *map(int, more)])
