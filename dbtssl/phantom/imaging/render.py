"""From a planned volume to its pixels: anatomy, projection, exposure, reconstruction, display."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from dbtssl.phantom.cohort.phantom_cohort import PlannedVolume, grid_of
from dbtssl.phantom.imaging.acquisition import (
    equalise,
    filter_projections,
    project,
    reconstruct,
    silhouette,
)
from dbtssl.phantom.imaging.anatomy import Slab
from dbtssl.phantom.imaging.detector import display, expose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dbtssl.data.records import Box
    from dbtssl.phantom.model.phantom_config import PhantomConfig


def render(
    config: PhantomConfig, volume: PlannedVolume
) -> tuple[NDArray[np.uint16], tuple[Box, ...]]:
    """Grey levels 0 to 1023, shape ``(n_slices, rows, columns)``, and boxes, in the oriented frame.

    Chest wall at the left edge for a left breast, at the right edge for a right one. On one machine
    the bytes depend on ``config`` and ``volume`` alone: one thread computes, however many torch is
    allowed.
    """
    with one_thread(), torch.inference_mode():
        grid, shape = grid_of(config, volume.breast, volume.positioning)
        pose, things = volume.positioning.pose, volume.innocent
        slab = Slab(volume.breast, volume.lesion, shape, grid, pose, things)
        technique = volume.technique
        integrals = expose(project(slab), shape.thickness, grid.pixel, technique)
        filtered = filter_projections(equalise(integrals, slab), grid.pixel, technique)
        # the full anatomy's projections are filled up outside the breast too, so air is masked
        mask = 1.0 if things is None else silhouette(integrals, grid)
        out = np.zeros((grid.n_slices, grid.rows, grid.columns), np.uint16)
        for group, slices in reconstruct(filtered, grid):
            levels = display(slices * mask, shape.thickness, technique)
            out[group.start : group.stop, :, slab.columns] = levels.numpy()
    if not volume.positioning.left:
        out = np.ascontiguousarray(out[:, :, ::-1])
    return out, volume.boxes


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: sums over several threads depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
