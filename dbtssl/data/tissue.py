"""Breast against background: one mask for a whole volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from dbtssl.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

TissueRule = Literal["otsu-root", "otsu"]


def tissue_mask(mean: NDArray[np.floating], rule: TissueRule = "otsu-root") -> NDArray[np.bool_]:
    """Where tissue is, ``(rows, columns)``, from the mean over slices of the windowed volume, ``(rows, columns)``.

    Otsu's threshold (1979), then the largest 8-connected part with its holes filled. The mean over slices carries
    less noise than any slice and, unlike the maximum, no bright streak of a single one.

    ``otsu`` takes the grey levels as they are (SIFT-DBT, on the first slice). With an implant, a bright pectoral
    muscle or dense tissue that threshold falls between fat and glands, and much of the breast is lost. ``otsu-root``,
    the default, takes their fourth root, which draws the bright levels together and leaves the background, at 0, where
    it is. Least IoU with the silhouettes of 26 phantom volumes: 0.989, ``otsu`` 0.66. With what is not black in 20
    real slices: 0.991, ``otsu`` 0.11.
    """
    levels = np.sqrt(np.sqrt(mean)) if rule == "otsu-root" else mean
    if levels.min() == levels.max():
        raise DataError(
            f"no tissue: every pixel of the volume shows as {float(mean.min()):g}",
            hint="look at the file and its window; leave the volume out of the tables if it is empty",
        )
    parts, n = ndimage.label(levels > threshold_otsu(levels), structure=np.ones((3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=n + 1)[1:]
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(parts == sizes.argmax() + 1)
    return filled
