"""Second crops on the device: a window of the view, flipped or not, for images and their masks alike.

The loader's view is wider than what the network sees, so that one painted object can be shown in several crops.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from dbtssl.api import uniform
from dbtssl_implants.streams import WINDOWS

EACH = 4  # streams of one crop
SIDE, ROW, COLUMN, FLIP = WINDOWS[:EACH]


def windows(seeds: torch.Tensor, crop: int, smallest: float, flip: float) -> torch.Tensor:
    """Affine maps ``(n, 2, 3)`` for `cut_windows`, from ``seeds`` ``(n,)`` and the number of the ``crop`` alone.

    A window has a side of ``smallest`` to 1 of the view's, anywhere within it, and is mirrored along the columns with
    probability ``flip``.
    """

    def share(stream: int) -> torch.Tensor:
        return uniform(seeds, stream + EACH * crop)

    side = smallest + (1.0 - smallest) * share(SIDE)
    y, x = ((2.0 * share(axis) - 1.0) * (1.0 - side) for axis in (ROW, COLUMN))
    mirror = torch.where(share(FLIP) < flip, -1.0, 1.0)
    nothing = torch.zeros_like(side)
    top = torch.stack([side * mirror, nothing, x], dim=1)
    bottom = torch.stack([nothing, side, y], dim=1)
    return torch.stack([top, bottom], dim=1)


def cut_windows(images: torch.Tensor, where: torch.Tensor, size: int) -> torch.Tensor:
    """``images`` ``(n, C, S, S)`` in the windows ``where`` ``(n, 2, 3)``, as ``(n, C, size, size)``, bilinear."""
    shape = [len(images), images.shape[1], size, size]
    grid = F.affine_grid(where, shape, align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
