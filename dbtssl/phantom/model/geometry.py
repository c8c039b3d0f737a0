"""The scanner: where source and detector are, and the grid on which a view is sampled.

Selenia Dimensions: 15 projections over 15 degrees, source 700 mm from the detector, breast 25 mm
above it (pyDBT, LAVI-USP, `parameterSettings.py`; the header of BCS-DBT says 700 mm too). The
source is taken at a fixed height, which keeps every projection a shift; the error against the true
arc is tested.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len
from torch import Tensor

SOURCE_DISTANCE = 700.0  # mm, source to detector
AIR_GAP = 25.0  # mm, detector to breast support
PROJECTIONS = 15
SWEEP = 15.0  # degrees
PADDING = 1.2  # rows simulated over rows shown: no truncation artefact where an MLO view is cut


def source_positions() -> Tensor:
    """Places of the source along the sweep in mm, shape ``(PROJECTIONS,)``."""
    angles = torch.deg2rad(torch.linspace(-SWEEP / 2, SWEEP / 2, PROJECTIONS))
    return SOURCE_DISTANCE * torch.sin(angles)


@dataclass(frozen=True, slots=True)
class Grid:
    """Pixels and slices of a view; the pixel is true to scale at the middle of the stack."""

    rows: int
    columns: int
    n_slices: int
    pixel: float  # mm
    spacing: float  # mm
    centre: float  # mm, v of the middle of the image

    @property
    def height(self) -> float:
        """Height of the stack in mm."""
        return self.n_slices * self.spacing

    @property
    def padded(self) -> int:
        """Rows that are simulated: an even length that the Fourier transform likes."""
        return 2 * int(next_fast_len(math.ceil(self.rows * PADDING / 2), real=True))

    @property
    def margin(self) -> int:
        """Simulated rows above the image."""
        return (self.padded - self.rows) // 2

    def u(self) -> Tensor:
        """Mm from the chest wall, shape ``(columns,)``."""
        return (torch.arange(self.columns) + 0.5) * self.pixel

    def v(self) -> Tensor:
        """Mm along the chest wall of the simulated rows, shape ``(padded,)``."""
        row = torch.arange(self.padded) - self.margin + 0.5
        return (row - self.rows / 2) * self.pixel + self.centre

    def z(self) -> Tensor:
        """Heights of the slices in mm, shape ``(n_slices,)``."""
        return (torch.arange(self.n_slices) + 0.5) * self.spacing

    def scale(self, z: float) -> float:
        """Cone magnification at height ``z`` over that at the middle of the stack."""
        return (SOURCE_DISTANCE - AIR_GAP - self.height / 2) / (SOURCE_DISTANCE - AIR_GAP - z)

    def shifts(self) -> Tensor:
        """Mm by which each projection sees each slice displaced, registered at mid height:
        ``(PROJECTIONS, n_slices)``.

        A point at height h above the detector is cast v h / (D - h) away from a source at -v and
        height D; divided by the magnification of the middle it is a length on the grid.
        """
        h = self.z() + AIR_GAP
        middle = AIR_GAP + self.height / 2
        cast = h / (SOURCE_DISTANCE - h) - middle / (SOURCE_DISTANCE - middle)
        magnification = SOURCE_DISTANCE / (SOURCE_DISTANCE - middle)
        return source_positions()[:, None] * cast[None] / magnification

    def pixel_at(self, u: float, v: float, z: float) -> tuple[float, float]:
        """Where a point is seen in its slice: ``(x, y)`` in pixels from the image's upper left corner."""
        scale = self.scale(z)
        y = (v * scale - self.centre) / self.pixel + self.rows / 2
        return u * scale / self.pixel, y
