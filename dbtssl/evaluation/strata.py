"""Subgroups of units: benign or cancer, mass or distortion, CC or MLO, density. Cells under ten units are not shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbtssl.data.records import Label

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.evaluation.predictions import Predictions

LEAST = 10  # units of each class in a cell


def strata(p: Predictions) -> dict[str, NDArray[np.bool_]]:
    """Name to the volumes that belong to it, ``(V,)``; what the file does not know is not there.

    A finding keeps all normal volumes and the abnormal ones of its kind: benign or cancer by the volume's label,
    distortion if one of its boxes is marked so, else mass. A projection or a density keeps both classes.
    """
    normal = p.labels < Label.BENIGN
    out = {
        "finding: benign": normal | (p.labels == Label.BENIGN),
        "finding: cancer": normal | (p.labels == Label.CANCER),
    }
    if any(p.boxes):
        boxed = np.array([bool(b) for b in p.boxes], dtype=np.bool_)
        distorted = np.array([any(b.distortion for b in own) for own in p.boxes], dtype=np.bool_)
        out["lesion: mass"] = normal | (boxed & ~distorted)
        out["lesion: distortion"] = normal | distorted
    if all(p.views):
        mlo = np.array([view[1:2] == "m" for view in p.views], dtype=np.bool_)
        out |= {"projection: CC": ~mlo, "projection: MLO": mlo}
    for density in sorted(set(p.density) - {""}):
        out[f"density: {density}"] = np.array([d == density for d in p.density], dtype=np.bool_)
    return out


def enough(abnormal: NDArray[np.bool_]) -> bool:
    """Whether a cell has `LEAST` units of each class."""
    return min(int(abnormal.sum()), int((~abnormal).sum())) >= LEAST
