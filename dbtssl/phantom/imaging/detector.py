"""From line integrals to counts and back, and to the 10-bit grey levels of BCS-DBT.

Level and contrast of the display, ramp and apodisation (`acquisition`) and the tissue's fields were
set so that the middle slices measure like the 59 real ones of BCS-DBT. Mean over both views of 24
(plain) and 12 (full) women at 256 rows, 8 and 5 at 512; the exponent is fitted from 0.1 to 0.5 /mm,
its spread in brackets:

                 exponent CC   exponent MLO   grey levels within the breast at 1 10 25 50 75 90 99 %
BCS-DBT          2.85 (0.34)   2.86 (0.39)    301 326 343 368 404 451 549
full, 256 rows   2.85 (0.38)   2.82 (0.25)    283 314 335 365 407 453 518
full, 512 rows   2.82 (0.18)   2.79 (0.22)    286 313 330 358 401 443 506
plain, 256 rows  2.76 (0.30)   2.78 (0.25)    271 299 329 366 408 456 557
plain, 512 rows  2.89 (0.29)   2.95 (0.37)    284 310 338 377 423 471 610

`tests/phantom/test_calibration.py` measures it again on fewer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dbtssl.phantom.imaging.anatomy import FAT

if TYPE_CHECKING:
    from dbtssl.phantom.model.subject import Technique

SCATTER = 0.5  # scatter to primary without a grid at 5 cm (Boone); it adds noise only
READOUT = 25.0  # variance of the electronic noise in photons^2
EXPOSURE_CONTROL = 0.055  # 1/mm: automatic exposure keeps the counts behind the breast
LEVELS = 1023  # 10 bits stored


def expose(integrals: Tensor, thickness: float, pixel: float, technique: Technique) -> Tensor:
    """Line integrals as measured.

    The variance of the counts is affine (Borges 2019); quantum noise is taken as normal. Photons
    are per mm2, so coarse pixels are as quiet as averaged fine ones. Lengths are in mm.
    """
    generator = torch.Generator().manual_seed(technique.seed)
    unattenuated = technique.photons * pixel**2 * math.exp(EXPOSURE_CONTROL * thickness)
    counts = unattenuated * torch.exp(-integrals)
    deviation = (counts * (1 + SCATTER) + READOUT).sqrt()
    counts += deviation * torch.randn(counts.shape, generator=generator)
    return -torch.log(counts.clamp_min(1) / unattenuated)


def display(slices: Tensor, thickness: float, technique: Technique) -> Tensor:
    """Grey levels 0 to 1023 (uint16) of reconstructed slices: a power curve with a soft shoulder.

    A uniform slab of thickness T is reconstructed as its attenuation times T times the filter's
    floor.
    """
    relative = slices.clamp_min(0) / (thickness * technique.floor * FAT)
    fat_level, exponent = technique.curve
    x = fat_level * technique.gain * relative ** (exponent * technique.gamma)
    x = x * (1 + x.square().square()).sqrt().rsqrt()  # x / (1 + x^4)^(1/4)
    return (x * LEVELS).round().to(torch.uint16)
