"""Vessels: branching tubes from the chest wall towards the nipple, in both views the same.

Trunks run below the skin and within the breast and wind; branches leave at any place of their
parent and are thinner by Murray's law for two equal daughters (radius x 2^(-1/3)). Diameters follow
what is seen on real slices, 0.5 to 3 mm. Numbers are ours.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dbtssl.phantom.findings.inclusions import SAMPLED, Chain, thread
from dbtssl.phantom.findings.lesion_shapes import pull

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator
    from numpy.typing import NDArray

    from dbtssl.phantom.model.compression import Compression
    from dbtssl.phantom.model.subject import Breast, Lesion

BLOOD = 0.082  # 1/mm at 20 keV, wall and blood
TRUNKS = (4, 8)  # range of their number
RADIUS = (0.5, 1.6)  # mm, of a trunk
MURRAY = 2 ** (-1 / 3)
BRANCHES = (1, 4)  # range, of a trunk; a branch has one at most
DEPTHS = (0.3, 0.9)  # range of the distance from the axis
STEP = 0.8  # mm between points
WINDING = (0.01, 0.045)  # amplitude of a winding over its wavelength
WAVES = (15.0, 90.0)  # mm, range of the wavelengths
TAPER = 0.55  # radius at the end over that at the beginning
GAP = 1.8  # standard deviations of its kernel between two points of a vessel, at most
HALVINGS = 14  # of the interval in which a drawn-in point is sought
LEAST = 0.25  # mm, radius

Path = tuple["NDArray[np.float64]", float]  # points in mm of the breast's axes, and radius


def tree(seed: int, breast: Breast) -> list[Path]:
    """The vessels of a breast, trunks before their branches: points (N, 3) in mm, radius."""
    rng = np.random.default_rng(seed)
    size = np.array([breast.depth, breast.width, breast.width])
    found: list[Path] = []
    for _ in range(int(rng.integers(*TRUNKS))):
        angle = rng.uniform(-math.pi, math.pi)
        start_r, end_r = rng.uniform(*DEPTHS), rng.uniform(*DEPTHS)
        turn = angle + rng.normal(0, 0.5)
        start = np.array([rng.uniform(-0.05, 0.25), *_ray(start_r, angle)])
        end = np.array([rng.uniform(0.55, 0.97), *_ray(0.75 * end_r, turn)])
        trunk = _path(start * size, end * size, float(rng.uniform(*RADIUS)), rng)
        found.append(trunk)
        for _ in range(int(rng.integers(*BRANCHES))):
            branch = _branch(trunk, rng)
            found.append(branch)
            found.extend(_branch(branch, rng) for _ in range(int(rng.integers(2))))
    return found


def tubes(
    paths: list[Path], breast: Breast, shape: Compression, lesion: Lesion | None, pixel: float
) -> Iterator[Chain]:
    """Each vessel as one view sees it, drawn in by ``lesion``, without gaps at ``pixel`` mm."""
    closer = math.ceil(STEP / (GAP * max(SAMPLED * pixel, LEAST / 2)))
    size = np.array([breast.depth, breast.width, breast.width])
    for points, radius in paths:
        places = shape.place_all(torch.tensor(points / size, dtype=torch.float32))
        if lesion is not None and lesion.drag:
            places = drawn_in(places, lesion, shape)
        if closer > 1:
            n = closer * (len(places) - 1) + 1
            line = places.T[None]
            places = F.interpolate(line, n, mode="linear", align_corners=True)[0].T.contiguous()
        along = torch.linspace(1, TAPER, len(places))
        yield thread(places, (radius * along).clamp_min(LEAST))


def drawn_in(places: Tensor, lesion: Lesion, shape: Compression) -> Tensor:
    """Where the pull of ``lesion`` takes ``places``: the inverse of how tissue is looked up."""
    centre = torch.tensor(shape.place(lesion.at))
    away = places - centre
    square = away.square().sum(1)
    low, high = torch.zeros(len(places)), torch.ones(len(places))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        too_far = middle * (1 + pull(lesion, middle.square() * square)) > 1
        low, high = torch.where(too_far, low, middle), torch.where(too_far, middle, high)
    return centre + high[:, None] * away


def _branch(parent: Path, rng: Generator) -> Path:
    points, radius = parent
    n = len(points)
    at = int(rng.integers(n // 8, max(n // 8 + 1, 3 * n // 4)))
    onward = points[-1] - points[at]
    turned = onward + np.linalg.norm(onward) * rng.normal(0, 0.45, 3)
    end = points[at] + turned * rng.uniform(0.4, 1.0)
    return _path(points[at], end, radius * MURRAY * float(rng.uniform(0.75, 1.0)), rng)


def _path(
    start: NDArray[np.float64], end: NDArray[np.float64], radius: float, rng: Generator
) -> Path:
    """A winding path: a straight one, and waves across that vanish where it starts."""
    length = float(np.linalg.norm(end - start))
    t = np.linspace(0, 1, max(int(length / STEP), 4))[:, None]
    path = start + t * (end - start)
    for wave in np.exp(rng.uniform(math.log(WAVES[0]), math.log(WAVES[1]), 5)):
        across = rng.normal(0, rng.uniform(*WINDING) * wave, 3)
        phase = rng.uniform(0, 2 * math.pi)
        path += across * (np.sin(2 * math.pi * length / wave * t + phase) - math.sin(phase))
    return path, radius


def _ray(radius: float, angle: float) -> tuple[float, float]:
    return radius * math.cos(angle), radius * math.sin(angle)
