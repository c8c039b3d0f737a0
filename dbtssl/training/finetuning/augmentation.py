"""The light augmentation of fine-tuning, drawn for each sample in the worker and applied to a batch on the device.

The released SIFT-DBT code (`dataset/transforms.py:158`, with `--affine-prob 0.2`): flip 0.5, random resized crop of
(0.8, 1.0) of the area, blur with kernel 3 and sigma in (0.1, 1.0) with probability 0.2, rotation within 30 degrees and
translation within 0.2 with probability 0.2; no change of grey level. Flip, crop, rotation and translation are one
resampling here, so that the patch is interpolated once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

DRAWN = 7  # numbers a sample: a 2 x 3 affine map, row by row, and the blur's sigma


@dataclass(frozen=True)
class LightAugment:
    """Probabilities and strengths; the defaults are those of the released SIFT-DBT code.

    ``scale`` is the crop's fraction of the area and ``ratio`` its aspect ratio; ``rotation`` is in degrees,
    ``translation`` in shares of the patch and ``sigma`` in pixels. What a rotated or moved patch lacks is 0.
    """

    flip: float = 0.5
    scale: tuple[float, float] = (0.8, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    p_affine: float = 0.2
    rotation: float = 30.0
    translation: float = 0.2
    p_blur: float = 0.2
    sigma: tuple[float, float] = (0.1, 1.0)

    def draw(self, rng: Generator) -> NDArray[np.float32]:
        """One sample's numbers, shape ``(DRAWN,)``: where each output pixel comes from, and sigma (0: no blur)."""
        theta = self._crop(rng)
        if rng.random() < self.flip:
            theta = theta @ np.diag([-1.0, 1.0, 1.0])
        if rng.random() < self.p_affine:
            theta = theta @ self._affine(rng)
        sigma = rng.uniform(*self.sigma) if rng.random() < self.p_blur else 0.0
        return np.append(theta[:2].ravel(), sigma).astype(np.float32)

    def _crop(self, rng: Generator) -> NDArray[np.float64]:
        """A crop that lies in the patch; the ratio is drawn, evenly on a log scale, among those that fit."""
        area = rng.uniform(*self.scale)
        low, high = max(self.ratio[0], area), min(self.ratio[1], 1 / area)
        ratio = np.exp(rng.uniform(np.log(low), np.log(high)))
        width, height = np.sqrt(area * ratio), np.sqrt(area / ratio)
        x, y = rng.uniform(-1, 1, size=2) * (1 - width, 1 - height)
        return np.array([[width, 0, x], [0, height, y], [0, 0, 1]])

    def _affine(self, rng: Generator) -> NDArray[np.float64]:
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation))
        x, y = 2 * rng.uniform(-self.translation, self.translation, size=2)  # the patch is 2 wide
        cos, sin = np.cos(angle), np.sin(angle)
        return np.array([[cos, -sin, x], [sin, cos, y], [0, 0, 1]])


def augment(patches: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """Apply ``drawn`` (B, DRAWN) to ``patches`` (B, 1, S, S); a pure function of both."""
    theta, sigma = drawn[:, :6].reshape(-1, 2, 3), drawn[:, 6]
    grid = F.affine_grid(theta, list(patches.shape), align_corners=False)
    out = F.grid_sample(patches, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    blurred = torch.nonzero(sigma > 0).flatten()
    return out.index_copy(0, blurred, _blur(out[blurred], sigma[blurred])) if len(blurred) else out


def _blur(patches: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Separable Gaussian with three taps and a sigma for each sample; the border is repeated."""
    side = torch.exp(-0.5 / sigma**2)
    side = (side / (1 + 2 * side)).reshape(-1, 1, 1, 1)
    for axis in (2, 3):
        length = patches.shape[axis]
        pad = (0, 0, 1, 1) if axis == 2 else (1, 1, 0, 0)
        wide = F.pad(patches, pad, mode="replicate")
        ends = wide.narrow(axis, 0, length) + wide.narrow(axis, 2, length)
        patches = patches + side * (ends - 2 * patches)
    return patches
