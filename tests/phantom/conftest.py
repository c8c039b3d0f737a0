"""A few healthy breasts rendered once, and the true outline of what is rendered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from dbtssl.phantom.cohort.phantom_cohort import PlannedVolume, grid_of, plan
from dbtssl.phantom.imaging.render import render
from dbtssl.phantom.model.phantom_config import PhantomConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Sample:
    """A volume, its middle slice, the breast's true outline there and the part of full thickness."""

    config: PhantomConfig
    planned: PlannedVolume
    volume: NDArray[np.uint16]
    middle: NDArray[np.uint16]
    breast: NDArray[np.bool_]
    interior: NDArray[np.bool_]


def sample(config, planned):
    planned = planned.without_lesion()
    volume, _ = render(config, planned)
    grid, shape = grid_of(config, planned.breast, planned.positioning)
    k = grid.n_slices // 2
    scale = grid.scale(float(grid.z()[k]))
    u = grid.u()[None] / scale
    v = grid.v()[grid.margin : grid.margin + grid.rows, None] / scale
    depth = shape.depth(u, v, grid.z()[k])
    interior = depth > 0.36 * shape.thickness
    if shape.muscle:
        interior &= shape.muscle_depth(u, v) < -3
    assert planned.positioning.left
    return Sample(config, planned, volume, volume[k], (depth > 0).numpy(), interior.numpy())


@pytest.fixture(scope="session")
def sample_of():
    return sample


@pytest.fixture(scope="session")
def samples():
    """Left CC and MLO views of eight women at 256 rows."""
    config = PhantomConfig(rows=256, patients=8, seed=5, repeat_study=0, missing_view=0)
    return [sample(config, v) for v in plan(config) if v.view in ("lcc", "lmlo")]
