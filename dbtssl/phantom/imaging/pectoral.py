"""The pectoral muscle of an MLO view: a wedge of fibres and fat that thins out towards its edge."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dbtssl.phantom.model.noise import lookup

if TYPE_CHECKING:
    from dbtssl.phantom.model.compression import Compression
    from dbtssl.phantom.model.pattern import Pose

FAT, MUSCLE = 0.045, 0.070  # 1/mm at 20 keV
WEDGE = 30.0  # mm inside its edge the muscle fills the whole thickness
EDGE = (0.5, 0.6)  # softness of its edge in mm; and per mm of pixel
MUSCLE_FAT = (0.15, 0.15)  # mean and spread of the fatty streaks between its fibres
FIBRE = (0.10, 0.9)  # mm of the gland field per mm along and across the fibres
FULL_MUSCLE = 0.084  # in the full anatomy, where more fat lies between
FULL_EDGE = 2.5  # how much softer its edge is there
FULL_SPREAD = 0.20
THIN = 0.75  # fat at the very edge, falling off inwards

BUNDLE = 2.4  # mm of the field per mm across the bundles of fibres
BUNDLES = 0.35  # how strong they are beside the streaks
ORIGIN = 500.0  # mm, keeps coordinates positive


def softness(pixel: float) -> float:
    """Of the muscle's edge in mm, on a grid of ``pixel`` mm."""
    return EDGE[0] + EDGE[1] * pixel


def streaks(tile: Tensor, shape: Compression, u: Tensor, v: Tensor, z: Tensor) -> Tensor:
    """The gland field drawn out along the edge of the muscle: ``(1, len(v), len(u))``."""
    norm = math.hypot(1.0, shape.muscle_length)
    along = FIBRE[0] * (shape.muscle_length * v - u) / norm + ORIGIN
    across = FIBRE[1] * (shape.muscle_length * u + v) / norm + ORIGIN
    return lookup(tile[:1], along, across, (FIBRE[1] * z).expand(along.shape))


def bundles(tile: Tensor, shape: Compression, u: Tensor, v: Tensor, z: Tensor) -> Tensor:
    """Streaks of fat and, finer, the bundles of fibres between them."""
    norm = math.hypot(1.0, shape.muscle_length)
    along = 0.5 * FIBRE[0] * (shape.muscle_length * v - u) / norm + 2 * ORIGIN
    across = BUNDLE * (shape.muscle_length * u + v) / norm + ORIGIN
    bundle = lookup(tile[1:], along, across, (BUNDLE * z).expand(along.shape))
    return (streaks(tile, shape, u, v, z) + BUNDLES * bundle) / 1.2


def share(inside: Tensor, zeta: Tensor, pixel: float, pose: Pose | None) -> Tensor:
    """How much of each pixel is muscle, ``inside`` mm from its edge at height ``zeta``."""
    wedge, middle = (WEDGE, 0.0) if pose is None else (pose.muscle_wedge, pose.muscle_middle)
    soft = softness(pixel) if pose is None else FULL_EDGE * softness(pixel)
    return torch.sigmoid((inside - wedge * (zeta - middle).square()) / soft)


def attenuation(fibres: Tensor, inside: Tensor, pose: Pose | None) -> Tensor:
    """Attenuation of the muscle in 1/mm where its streaks are ``fibres``."""
    if pose is None:
        fat = (MUSCLE_FAT[0] + MUSCLE_FAT[1] * fibres).clamp(0, 1)
        return MUSCLE + (FAT - MUSCLE) * fat
    thin = THIN * torch.exp(-inside.clamp_min(0) / pose.muscle_fade)
    fat = (pose.muscle_fat + FULL_SPREAD * fibres + thin).clamp(0, 1)
    return FULL_MUSCLE + (FAT - FULL_MUSCLE) * fat
