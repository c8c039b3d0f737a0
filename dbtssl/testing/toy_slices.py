"""Toy slices with labels: noise, and a bright square where there is a lesion. Small, quick and learnable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbtssl.data.prepared.prepared_dataset import write_dataset
from dbtssl.data.records import Box, Label, Volume, abnormal_slices
from dbtssl.interfaces import Labelled

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LESION = 16  # edge of the square in pixels
REACH = 1  # slices on either side of the annotated one that show it


def toy_labelled(
    root: Path,
    *,
    patients: int = 4,
    n_slices: int = 4,
    shape: tuple[int, int] = (96, 80),
    seed: int = 0,
) -> Labelled:
    """A prepared data set of one volume a patient at ``root``, every second one with a lesion, and its slice labels.

    The left three quarters of each slice are tissue, of grey level 0.3 with noise 0.05; a lesion is at 0.8.
    """
    rng = np.random.default_rng(seed)
    rows, columns = shape
    tissue = np.zeros(shape, dtype=np.bool_)
    tissue[:, : 3 * columns // 4] = True
    volumes, arrays = [], []
    for p in range(patients):
        box = _box(rng, n_slices, shape) if p % 2 else None
        grey = np.where(tissue, 0.3 + 0.05 * rng.standard_normal((n_slices, *shape)), 0.0)
        if box is not None:
            y, x = int(box.y), int(box.x)
            near = slice(max(0, box.z - REACH), box.z + REACH + 1)
            grey[near, y : y + LESION, x : x + LESION] = 0.8
        volumes.append(
            Volume(
                patient=f"toy{seed}-{p:03d}",
                study="1",
                view="lcc",
                n_slices=n_slices,
                rows=rows,
                columns=columns,
                label=Label.CANCER if box else Label.NORMAL,
                boxes=(box,) if box else (),
            )
        )
        arrays.append(_stored(grey))
    data = write_dataset(root, volumes, arrays, [tissue] * patients)
    slices = data.slices(range(patients))
    return Labelled(slices, tuple(abnormal_slices(v, REACH, REACH) for v in slices.cohort))


def _box(rng: np.random.Generator, n_slices: int, shape: tuple[int, int]) -> Box:
    y = rng.integers(shape[0] - LESION)
    x = rng.integers(3 * shape[1] // 4 - LESION)
    return Box(int(rng.integers(n_slices)), float(x), float(y), LESION, LESION, Label.CANCER)


def _stored(grey: NDArray[np.float64]) -> NDArray[np.uint16]:
    stored: NDArray[np.uint16] = np.rint(1023 * grey.clip(0, 1)).astype(np.uint16)
    return stored
