"""One periodic tile of complex noise a breast: real part the gland field, imaginary part the
lobules.

The gland field has the power spectrum ``f ** -beta`` of breast tissue (Chen 2012, PMC3298563). The
lobule field is band-passed about the lobules' size, so its zero level sets are closed thin sheets:
Cooper's ligaments round fat lobules. Both come from one Fourier transform.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 128.0  # mm: larger than a breast in tissue coordinates, so nothing repeats
TWIN_SHARE = 0.35  # of the variance is common to a woman's two breasts
LARGEST_STRUCTURE = 90.0  # mm, where the power law levels off
BAND_CENTRE = 1.6  # lobules of size d need a field of wavelength 1.6 d
BAND_WIDTH = 0.45
BAND_TAIL, BAND_TAIL_EXPONENT = 0.15, 2.2  # small structure that keeps the sheets from being smooth
FINE_ROWS = 400  # from here on the tile has 1 mm cells, below it 2 mm cells


def cells(rows: int) -> int:
    """Cells along a side of the tile that an image of ``rows`` rows can resolve."""
    return 128 if rows >= FINE_ROWS else 64


@lru_cache(maxsize=2)
def tissue_tile(seed: int, twin: int, beta: float, lobule: float, n: int) -> Tensor:
    """The two fields of a breast, of unit variance: ``(2, n + 1, n + 1, n + 1)``, wrapped by one
    cell.

    ``lobule`` is in mm. Both views and all studies of a breast look up the same tile.
    """
    z = math.sqrt(1 - TWIN_SHARE) * _white(seed, n) + math.sqrt(TWIN_SHARE) * _white(twin, n)
    k = torch.fft.fftfreq(n, TILE / n)
    f = (k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None] ** 2).sqrt()
    law = (f**2 + LARGEST_STRUCTURE**-2) ** (-beta / 4)
    law[0, 0, 0] = 0
    band = torch.exp(-0.5 * ((f * BAND_CENTRE * lobule - 1) / BAND_WIDTH) ** 2)
    band += BAND_TAIL * (f * lobule + 1) ** -BAND_TAIL_EXPONENT
    spectrum = torch.fft.fftn(z)
    fields = torch.stack(
        (torch.fft.ifftn(spectrum * law).real, torch.fft.ifftn(spectrum * band).imag)
    )
    fields /= fields.flatten(1).std(1)[:, None, None, None]
    return F.pad(fields[None], (0, 1, 0, 1, 0, 1), mode="circular")[0]


def lookup(tile: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Trilinear values of a wrapped tile at mm coordinates of one shape: ``(fields, *shape)``."""
    grid = torch.stack((z, y, x), -1).mul_(1 / TILE)
    grid.sub_(grid.floor()).mul_(2.0).sub_(1.0)
    values = F.grid_sample(tile[None], grid.view(1, 1, 1, -1, 3), align_corners=True)
    return values.view(tile.shape[0], *x.shape)


def _white(seed: int, n: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.view_as_complex(torch.randn(n, n, n, 2, generator=generator))
