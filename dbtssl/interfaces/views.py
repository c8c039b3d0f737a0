"""What an objective asks to see: crops of the anchor slice or of its positive, and changes of their grey levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Crop:
    """A random resized crop: area share ``scale`` and aspect ratio ``ratio``, resized to ``size`` pixels.

    ``size`` is a square's side or ``(rows, columns)``; ``ratio`` is of width to height on the slice, whatever ``size``.
    ``flip`` is the probability of a flip along the columns, ``rotation`` the largest turn in degrees and
    ``p_rotation`` its probability. ``min_tissue`` is the least share of tissue in the crop: of at most ``tries``
    rectangles the first with so much is taken, else the one with the most.
    """

    size: int | tuple[int, int]
    scale: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    rotation: float = 0.0
    p_rotation: float = 0.0
    min_tissue: float = 0.01
    tries: int = 10  # as in torchvision's RandomResizedCrop

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the view."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


@dataclass(frozen=True)
class Photometry:
    """Random changes of grey level, drawn for each view: probabilities and strengths.

    ``brightness`` and ``contrast`` are the half widths of a factor about 1 (applied together with probability
    ``p_jitter``); ``blur`` is the range of the Gaussian's sigma in pixels; ``noise`` is the standard deviation of
    additive noise in units of the display range.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    p_jitter: float = 0.8
    blur: tuple[float, float] = (0.1, 2.0)
    p_blur: float = 0.0
    noise: float = 0.0


@dataclass(frozen=True)
class ViewSpec:
    """One view that an objective asks for: a crop of the anchor slice or of its positive.

    ``same_crop_as`` names another view by its position; both then show the same place.
    """

    of: Literal["anchor", "positive"]
    crop: Crop
    photometry: Photometry = Photometry()
    same_crop_as: int | None = None
