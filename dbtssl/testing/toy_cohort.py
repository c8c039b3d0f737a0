"""A toy cohort for pretraining: missing views, a repeat, a second study; a texture of its own for each volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbtssl.data.prepared.prepared_dataset import write_dataset
from dbtssl.data.records import Label, Volume

if TYPE_CHECKING:
    from pathlib import Path

    from dbtssl.data.prepared.prepared_dataset import Slices

# patient, study, view: a breast with a repeated MLO view, a second study, a breast without CC, a single view
VOLUMES = (
    ("P0", "S0", "lcc"),
    ("P0", "S0", "lmlo"),
    ("P0", "S0", "lmlo1"),
    ("P0", "S0", "rcc"),
    ("P0", "S1", "lcc"),
    ("P1", "S0", "rcc"),
    ("P1", "S0", "rmlo"),
    ("P2", "S0", "lmlo"),
)


def toy_cohort(
    root: Path, *, n_slices: int = 3, block: int = 8, seed: int = 0, slices_differ: bool = False
) -> Slices:
    """Eight volumes of ``n_slices`` slices at ``root``, each a pattern of 5 x 4 squares of ``block`` pixels.

    The slices of a volume are alike, so that their volume can be told from any of them, unless ``slices_differ``.
    """
    rng = np.random.default_rng(seed)
    rows, columns = 5 * block, 4 * block
    volumes, arrays = [], []
    for patient, study, view in VOLUMES:
        volumes.append(Volume(patient, study, view, n_slices, rows, columns, Label.NORMAL))
        levels = rng.integers(0, 1023, size=(n_slices if slices_differ else 1, 5, 4))
        pattern = levels.repeat(block, axis=1).repeat(block, axis=2)
        arrays.append(np.broadcast_to(pattern, (n_slices, rows, columns)).astype(np.uint16))
    data = write_dataset(root, volumes, arrays)
    return data.slices(range(len(volumes)))
