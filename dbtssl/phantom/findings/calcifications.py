"""Benign calcifications: single grains, coarse ones, and those along a vessel's wall.

Arterial calcification is seen in 12.7 % of screened women (Hendriks 2015,
Atherosclerosis 239:11); the other numbers are ours. BCS-DBT has no boxes of
calcifications (Buda 2021), so none is a lesion here, and cancers have no more than others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from dbtssl.phantom.findings.inclusions import Chain, balls, joined
from dbtssl.phantom.findings.placing import cast, seed, within
from dbtssl.phantom.model.subject import Inclusion

if TYPE_CHECKING:
    from numpy.random import Generator

CALCIUM = 0.75  # 1/mm at 20 keV: apatite attenuates twice that, grains are porous (ours)
GRAINS, GRAIN = 2.2, (0.35, 0.35, 0.15, 0.9)  # mean number; mm: median radius, log sd, limits
COARSE = (0.10, (1.5, 4.5))  # share of breasts with a coarse one, and its radius in mm
VASCULAR = 0.127  # share of women
WALL = (0.35, 0.12)  # share of a calcified wall's points, and radius in mm
PARTS = (10, 30)  # balls that a coarse one is made of


def draw(rng: Generator) -> tuple[Inclusion, ...]:
    """Draw the calcifications of a breast, without those of its vessels."""
    found = [
        Inclusion("calcification", within(rng, (0.1, 0.9), (0, 0.92)), cast(rng, *GRAIN), seed(rng))
        for _ in range(int(rng.poisson(GRAINS)))
    ]
    share, radius = COARSE
    if rng.random() < share:
        at = within(rng, (0.2, 0.8), (0, 0.7))
        found.append(Inclusion("calcification", at, float(rng.uniform(*radius)), seed(rng)))
    return tuple(found)


def grains(thing: Inclusion, centre: tuple[float, float, float]) -> Chain:
    """A calcification at ``centre`` (u, v, z) as small balls; it does not turn with the view."""
    middle = torch.tensor([centre])
    if thing.radius <= GRAIN[3]:
        return balls(middle, torch.tensor([thing.radius]))
    rng = np.random.default_rng(thing.seed)
    n = int(rng.integers(*PARTS))
    away = torch.tensor(rng.normal(0, 0.45 * thing.radius, (n, 3)), dtype=torch.float32)
    radius = torch.tensor(rng.uniform(0.1, 0.3, n) * thing.radius, dtype=torch.float32)
    return balls(middle + away, radius)


def wall(vessel: Chain, rng: Generator) -> Chain:
    """Calcium along the two edges of a vessel, with gaps."""
    share, radius = WALL
    n = len(vessel.places)
    patches = np.convolve(rng.normal(size=n), np.ones(9) / 3, mode="same")[:n]
    hard = torch.tensor(patches > np.quantile(patches, 1 - share))
    places, away = vessel.places[hard], vessel.radius[hard]
    along = torch.gradient(vessel.places, dim=0)[0][hard]
    aside = torch.stack((-along[:, 1], along[:, 0], torch.zeros(len(along))), 1)
    aside = aside / aside.norm(dim=1, keepdim=True).clamp_min(1e-6) * away[:, None]
    size = torch.full((len(places),), radius)
    return joined([balls(places + aside, size), balls(places - aside, size)])
