"""Boxes from the scores of patches: a plain, stated rule, so that a patch classifier can be scored as a detector.

The slice is divided into square cells of an eighth of a patch. The value of a cell on slice z is the mean probability
of all patches, of the slices z - 4 to z + 4, that cover its centre: a lesion spans several slices, as in the lesion
window of the strict protocol. The highest cell gives a box of half a patch's side, nine slices deep, with its value as
the score; where cells or neighbouring slices tie, to nine decimals, their middle, and of several such places the lowest
slice, then the topmost, then the leftmost. Cells nearer than half a patch and a quarter of the volume's slices are then
left out, and so on, at most ten boxes a volume. Coordinates are at the full resolution of BCS-DBT, 2457 rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from dbtssl.evaluation.localisation.detection import Detection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.evaluation.predictions.prediction_table import Predictions

FULL_ROWS = 2457  # rows of every frame of BCS-DBT; the official metric counts its pixels
REACH = 4  # slices to both sides
CELLS = 8  # a patch's side
MOST = 10  # boxes a volume
DECIMALS = 9  # of a cell's probability; what is closer is a tie


def boxes_of(p: Predictions, v: int) -> list[Detection]:
    """The boxes of volume ``v``, best first. Places, patch size and shape must be known."""
    size = p.made.patch_size
    assert size is not None
    assert p.places is not None
    scale = FULL_ROWS / int(p.shape[v, 0])
    cell = max(1, size // CELLS)
    heat = np.round(run_means(p, v, size, cell), DECIMALS)
    own = slice(*p.volume_offsets[v : v + 2])
    z = p.z[own]
    n_slices = int(p.n_slices[v])
    centres = [(np.arange(n) + 0.5) * cell for n in heat.shape[1:]]
    found: list[Detection] = []
    while len(found) < MOST and (peak := float(heat.max())) >= 0:
        k, i, j = (int(n) for n in np.unravel_index(int(heat.argmax()), heat.shape))  # the first
        differs = np.flatnonzero(heat[k:, i, j] != peak)
        k += (int(differs[0]) if len(differs) else len(heat) - k) // 2
        top = centres[0][i], centres[1][j]
        near = np.abs(centres[0] - top[0])[:, None] < size / 2
        near = near & (np.abs(centres[1] - top[1]) < size / 2)
        tied = np.argwhere((heat[k] == peak) & near)
        y, x = centres[0][tied[:, 0]].mean(), centres[1][tied[:, 1]].mean()
        first, last = max(0, int(z[k]) - REACH), min(n_slices - 1, int(z[k]) + REACH)
        side = scale * size / 2
        found.append(
            Detection(
                x=float(scale * x - side / 2),
                y=float(scale * y - side / 2),
                width=side,
                height=side,
                z=first,
                depth=last - first + 1,
                score=peak,
            )
        )
        close = np.abs(z - z[k]) <= n_slices / 4
        heat[np.ix_(close, near.any(axis=1), near.any(axis=0))] = -1.0
    return found


def run_means(p: Predictions, v: int, size: int, cell: int) -> NDArray[np.float64]:
    """Mean probability in each cell over a run of slices, ``(slices, rows, columns)``; -1 where no patch lies."""
    own = slice(*p.volume_offsets[v : v + 2])
    offsets = p.offsets[own.start : own.stop + 1]
    patches = slice(offsets[0], offsets[-1])
    assert p.places is not None
    rows, columns = (int(np.ceil(max(n, size) / cell)) for n in p.shape[v])
    # cell centres (i + 0.5) * cell that lie within [corner, corner + size)
    first = np.ceil(p.places[patches] / cell - 0.5).astype(np.int64)
    stop = np.ceil((p.places[patches] + size) / cell - 0.5).astype(np.int64)
    stop = np.minimum(stop, (rows, columns))
    of = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    shape = (len(offsets) - 1, rows + 1, columns + 1)
    sums = []
    for weight in (expit(p.logits[patches]), np.ones(len(of))):
        corners = np.zeros(shape)
        for y, x, sign in (
            (first[:, 0], first[:, 1], 1),
            (stop[:, 0], stop[:, 1], 1),
            (first[:, 0], stop[:, 1], -1),
            (stop[:, 0], first[:, 1], -1),
        ):
            np.add.at(corners, (of, y, x), sign * weight)
        sums.append(_over_run(corners.cumsum(axis=1).cumsum(axis=2)[:, :-1, :-1], p.z[own]))
    total, count = sums
    out = np.full(total.shape, -1.0)
    np.divide(total.clip(0), count, out=out, where=count > 0.5)  # rounding leaves some below 0
    return out


def _over_run(values: NDArray[np.float64], z: NDArray[np.int64]) -> NDArray[np.float64]:
    """The sum over the slices that lie within `REACH` of each."""
    summed = np.concatenate([np.zeros((1, *values.shape[1:])), values.cumsum(axis=0)])
    first = np.searchsorted(z, z - REACH, side="left")
    stop = np.searchsorted(z, z + REACH, side="right")
    return np.asarray(summed[stop] - summed[first], dtype=np.float64)
