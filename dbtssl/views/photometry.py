"""Grey levels of views, on the device, for a whole batch: brightness, contrast, blur, noise, each drawn per sample.

The order is that of MoCo v2's transform on a grey image, where hue, saturation and the turn to grey do nothing. All is
float: lightly's blur goes through 8 bits.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from dbtssl.views.random_numbers import normal, uniform

if TYPE_CHECKING:
    from dbtssl.interfaces import Photometry

JITTERED, BRIGHTNESS, CONTRAST, BLURRED, SIGMA, NOISE = range(6)  # streams; noise takes two
NO_BLUR = 1e-3  # pixels; a sigma so small leaves an image unchanged in float32
TRUNCATE = 3.0  # a blur's kernel reaches this many of the largest sigma


def photometry(views: torch.Tensor, change: Photometry, seeds: torch.Tensor) -> torch.Tensor:
    """``views`` ``(B, 1, rows, columns)``, changed and clipped to [0, 1]; ``seeds`` ``(B,)`` int64 decide how."""
    out = views
    if change.p_jitter and (change.brightness or change.contrast):
        on = _happens(seeds, JITTERED, change.p_jitter)
        brightness = on * change.brightness * _symmetric(seeds, BRIGHTNESS) + 1.0
        contrast = on * change.contrast * _symmetric(seeds, CONTRAST) + 1.0
        out = (out * _per_image(brightness)).clamp(0.0, 1.0)
        mean = out.mean(dim=(1, 2, 3), keepdim=True)
        out = ((out - mean) * _per_image(contrast) + mean).clamp(0.0, 1.0)
    if change.p_blur:
        low, high = change.blur
        sigma = low + (high - low) * uniform(seeds, SIGMA)
        out = blur(out, sigma * _happens(seeds, BLURRED, change.p_blur), radius=reach(high))
    if change.noise:
        out = out + change.noise * normal(seeds, NOISE, tuple(out.shape[1:]))
        out = out.clamp(0.0, 1.0)
    return out


def blur(images: torch.Tensor, sigma: torch.Tensor, radius: int) -> torch.Tensor:
    """Gaussian blur of each image ``(B, 1, rows, columns)`` with its own ``sigma`` ``(B,)`` in pixels; 0: as it is.

    The kernel has ``2 * radius + 1`` taps, less than twice the shorter side; the image is mirrored at its edges.
    """
    b, _, rows, columns = images.shape
    radius = min(radius, rows - 1, columns - 1)
    offset = torch.arange(-radius, radius + 1, device=images.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offset / sigma.clamp_min(NO_BLUR)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).to(images.dtype)[:, None]  # B x 1 x taps
    x = F.pad(images.view(1, b, rows, columns), (radius,) * 4, mode="reflect")
    x = F.conv2d(x, kernel[:, :, :, None], groups=b)
    return F.conv2d(x, kernel[:, :, None, :], groups=b).view(b, 1, rows, columns)


def reach(sigma: float) -> int:
    """Radius of the kernel of the largest ``sigma``, in pixels."""
    return max(1, math.ceil(TRUNCATE * sigma))


def _happens(seeds: torch.Tensor, stream: int, p: float) -> torch.Tensor:
    return (uniform(seeds, stream) < p).float()


def _symmetric(seeds: torch.Tensor, stream: int) -> torch.Tensor:
    """Uniform in [-1, 1)."""
    return 2.0 * uniform(seeds, stream) - 1.0


def _per_image(factor: torch.Tensor) -> torch.Tensor:
    return factor[:, None, None, None]
