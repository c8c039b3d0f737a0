"""What lesions are made of: how far they reach, and that spicules show."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dbtssl.phantom.cohort.phantom_cohort import plan
from dbtssl.phantom.findings.lesion_shapes import presence, pull, reach
from dbtssl.phantom.model import noise
from dbtssl.phantom.model.phantom_config import PhantomConfig
from dbtssl.phantom.model.subject import HALF_BOX

PIXEL = 1.0


@pytest.fixture(scope="module")
def drawn():
    """The largest and the smallest lesion of each kind and anatomy."""
    found = {}
    for anatomy in ("plain", "full"):
        config = PhantomConfig(patients=150, rows=192, seed=4, anatomy=anatomy)
        for volume in plan(config):
            if volume.lesion is not None:
                found.setdefault((anatomy, volume.lesion.kind), []).append(volume.lesion)
    ends = {key: sorted(lesions, key=lambda x: x.radius) for key, lesions in found.items()}
    return {key: (lesions[0], lesions[-1]) for key, lesions in ends.items()}


@pytest.fixture(scope="module")
def tile():
    return noise.tissue_tile(1, 2, 2.8, 11.0, 64)


def slice_of(lesion, tile, dz=0.0, half=None):
    """`presence` in the slice ``dz`` above the centre, and the distances from it, mm."""
    half = half or 1.6 * reach(lesion)
    axis = torch.arange(-half, half + PIXEL, PIXEL)
    offset = (axis[None], axis[:, None], torch.tensor(dz))
    r = (axis[None] ** 2 + axis[:, None] ** 2 + dz**2).sqrt()
    return presence(lesion, 0.3, tile, PIXEL, offset), r


def test_all_kinds_are_drawn(drawn):
    plain, full = ({k for a, k in drawn if a == anatomy} for anatomy in ("plain", "full"))
    assert plain == {"circumscribed", "spiculated", "distortion"}
    assert full == {"lobulated", "spiculated", "distortion"}


def test_nothing_of_a_lesion_lies_beyond_its_reach(drawn, tile):
    for pair in drawn.values():
        for lesion in pair:
            for dz in (0.0, 2.0):
                share, r = slice_of(lesion, tile, dz)
                assert share.max() > 0.1
                assert share[r > reach(lesion)].max() < 0.02


def test_spicules_of_the_full_anatomy_run_on_beyond_the_box(drawn, tile):
    outside = {}
    for anatomy in ("plain", "full"):
        for kind in ("spiculated", "distortion"):
            small, _ = drawn[anatomy, kind]
            planes = []
            for dz in (-2.0, 0.0, 2.0):
                share, r = slice_of(small, tile, dz)
                planes.append(share[r > HALF_BOX[kind] * small.radius + 2].amax())
            outside[anatomy, kind] = max(planes).item()
    assert min(outside["full", k] for k in ("spiculated", "distortion")) > 0.2
    assert max(outside["plain", k] for k in ("spiculated", "distortion")) < 0.1


def test_spicules_are_as_strong_as_they_are_told(drawn, tile):
    lesion, _ = drawn["full", "distortion"]
    rays = replace(lesion, core=0.0)
    weak = replace(rays, rays=replace(rays.rays, strength=rays.rays.strength / 2))
    whole, half = (slice_of(x, tile)[0] for x in (rays, weak))
    torch.testing.assert_close(half, whole / 2)


def test_tissue_is_drawn_in_as_far_as_the_grip_and_never_folds(drawn):
    for pair in drawn.values():
        for lesion in pair:
            r = torch.linspace(0.01, 60, 2000)
            share = pull(lesion, r**2)
            grip = lesion.grip * lesion.radius
            at_grip = pull(lesion, torch.tensor(grip**2)) / pull(lesion, torch.tensor(0.0)).clamp(
                1e-9
            )
            assert lesion.drag == 0 or at_grip.item() == pytest.approx(1 / torch.e, rel=1e-5)
            source = r * (1 + share)  # where what is seen at r comes from
            assert (source.diff() > 0).all()
