"""Projection and reconstruction as Fourier shifts along the sweep, streamed by slices.

In the slab's projective coordinates each of the sources sees each slice shifted as a whole
(`Grid.shifts`). A shift is a phase factor in the one-dimensional Fourier space along the sweep, so
projecting and backprojecting are matrix products of size projections x slices, one for each
frequency. Memory is the projections', never the volume's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from dbtssl.phantom.imaging.anatomy import FAT, Slab
from dbtssl.phantom.model.geometry import PROJECTIONS, Grid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtssl.phantom.model.subject import Technique

CHUNK = 2_000_000  # complex numbers held for a group of slices
HANN = 2.0  # 1/mm, where the apodisation ends; calibrated with the texture (`detector`)
EVEN = 0.8  # of the missing thickness at the rim is filled up (peripheral equalisation)
FULL_EVEN, FULL_KNEE = 0.97, 0.15  # in the full anatomy; and softness of where it sets in
FULL = 0.95  # of a fatty breast's attenuation counts as full thickness
RIM = (0.25, 0.05)  # line integral where the breast begins, and softness
FULL_OUTSIDE = (
    0.85  # and this share outside the breast, lest the filter draws a white line round it
)
EVEN_SCALE = 4.0  # mm: only the smooth part is filled up, texture stays


def project(slab: Slab) -> Tensor:
    """Line integrals of the attenuation, shape ``(PROJECTIONS, padded, len(slab.u))``, no unit."""
    grid = slab.grid
    phase = _phases(grid, -1.0)
    spectrum = torch.zeros(len(phase), PROJECTIONS, len(slab.u), dtype=torch.complex64)
    for group in _groups(grid, len(slab.u)):
        slices = torch.zeros(len(group), grid.padded, len(slab.u))
        for i, k in enumerate(group):
            slices[i, slab.rows] = slab.attenuation(k)
        slices = torch.fft.rfft(slices, dim=1).transpose(0, 1)
        spectrum += phase[:, :, group.start : group.stop] @ slices
    integrals: Tensor = torch.fft.irfft(spectrum * grid.spacing, n=grid.padded, dim=0)
    return integrals.transpose(0, 1)


def equalise(integrals: Tensor, slab: Slab) -> Tensor:
    """Fill up the thin rim of the breast, as vendors do before they reconstruct; same shape."""
    full = FULL * FAT * slab.shape.thickness
    inside = torch.sigmoid((integrals - RIM[0]) / RIM[1])
    k = max(1, int(EVEN_SCALE / slab.grid.pixel))
    weight = F.avg_pool2d(inside[None], k, ceil_mode=True).clamp_min(1e-3)
    smooth = F.avg_pool2d((integrals * inside)[None], k, ceil_mode=True) / weight
    smooth = F.interpolate(smooth, size=integrals.shape[1:], mode="bilinear")[0]
    missing = full - smooth
    if slab.breast.pattern is None:
        return integrals + EVEN * missing.clamp_min(0) * inside
    filled = FULL_EVEN * FULL_KNEE * F.softplus(missing / FULL_KNEE)
    return integrals + filled * (inside + FULL_OUTSIDE * (1 - inside))


def silhouette(integrals: Tensor, grid: Grid) -> Tensor:
    """Where the middle projection sees breast, 0 to 1: ``(rows, len(slab.u))``."""
    shown = integrals[PROJECTIONS // 2, grid.margin : grid.margin + grid.rows]
    return torch.sigmoid((shown - RIM[0]) / RIM[1])


def filter_projections(integrals: Tensor, pixel: float, technique: Technique) -> Tensor:
    """Filter along the sweep: spectra ``(frequencies, PROJECTIONS, columns)``; ``pixel`` is in mm.

    The filter is a ramp times a Hann window. A floor keeps the grey levels of large structure, a
    plateau keeps the texture's exponent.
    """
    f = torch.fft.rfftfreq(integrals.shape[1], pixel)
    ramp = technique.floor + (1 - technique.floor) * (f / technique.ramp).clamp(max=1)
    hann = 0.5 + 0.5 * torch.cos(math.pi * (f / HANN).clamp(max=1))
    response: Tensor = ramp * hann
    spectrum: Tensor = torch.fft.rfft(integrals, dim=1).transpose(0, 1)
    return spectrum * response[:, None, None]


def reconstruct(filtered: Tensor, grid: Grid) -> Iterator[tuple[range, Tensor]]:
    """Backproject: groups of slices and their ``(slices, rows, columns reached)``, without unit."""
    phase = _phases(grid, 1.0).transpose(1, 2)
    shown = slice(grid.margin, grid.margin + grid.rows)
    for group in _groups(grid, filtered.shape[2]):
        spectrum = phase[:, group.start : group.stop] @ filtered
        slices = torch.fft.irfft(spectrum, n=grid.padded, dim=0)[shown] / PROJECTIONS
        yield group, slices.transpose(0, 1)


def _phases(grid: Grid, sign: float) -> Tensor:
    """Phase factors of the shifts, ``(frequencies, PROJECTIONS, slices)``."""
    f = torch.fft.rfftfreq(grid.padded, grid.pixel)
    angle = sign * 2 * math.pi * f[:, None, None] * grid.shifts()[None]
    return torch.polar(torch.ones(1), angle)


def _groups(grid: Grid, columns: int) -> Iterator[range]:
    """Ranges of slices whose spectra fit into `CHUNK`."""
    step = max(1, CHUNK // (grid.padded * columns))
    for start in range(0, grid.n_slices, step):
        yield range(start, min(start + step, grid.n_slices))
