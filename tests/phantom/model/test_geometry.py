"""Compression and projection against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dbtssl.phantom.imaging.acquisition import project
from dbtssl.phantom.model.compression import compress
from dbtssl.phantom.model.geometry import AIR_GAP, PROJECTIONS, SOURCE_DISTANCE, SWEEP, Grid
from dbtssl.phantom.model.subject import Breast, Positioning


def shape_of(projection="mlo", left=True, roll=3.0):
    breast = Breast(seed=1, twin=2, lean=0.04)
    return compress(breast, Positioning(projection, left, roll=roll), 66.0)


@pytest.mark.parametrize("projection", ["cc", "mlo"])
@pytest.mark.parametrize("left", [True, False])
def test_place_inverts_disc(projection, left):
    shape = shape_of(projection, left)
    rng = np.random.default_rng(0)
    u = torch.tensor(rng.uniform(5, 0.9 * shape.length, 200))
    v = torch.tensor(rng.uniform(-0.5, 0.5, 200) * shape.width)
    z = shape.mid + torch.tensor(rng.uniform(-0.45, 0.45, 200)) * shape.thickness
    s, t, zeta = shape.unit(u, v, z)
    p, q = shape.disc(s, t, zeta)
    found = torch.tensor(
        [shape.place(at) for at in zip(*map(torch.Tensor.tolist, (s, p, q)), strict=True)]
    )
    torch.testing.assert_close(found.double(), torch.stack((u, v, z), 1), atol=1e-4, rtol=0)


def test_anchor_and_place_are_inverse():
    shape = shape_of()
    u, v, z = shape.place(shape.anchor(0.4, 0.3, -0.5))
    nu = v / shape.width / (1 - 0.45 * 0.4)
    assert u == pytest.approx(0.4 * shape.length)
    assert nu == pytest.approx(0.3)
    assert (z - shape.mid) / (shape.thickness / 2) == pytest.approx(-0.5)


def test_the_disc_is_the_unit_disc():
    shape = shape_of()
    side = torch.linspace(-1, 1, 50)
    nu, zeta = torch.meshgrid(side, side, indexing="ij")
    p, q = shape.disc(torch.zeros_like(nu), nu, zeta)
    radius = (p**2 + q**2).sqrt()
    assert float(radius.max()) <= 1 + 1e-5
    edge = (nu.abs() == 1) | (zeta.abs() == 1)
    torch.testing.assert_close(radius[edge], torch.ones(int(edge.sum())))


def test_depth_is_that_of_a_slab_in_the_middle_of_the_breast():
    shape = shape_of("cc", roll=0.0)
    for z in (shape.mid, shape.mid + 10, shape.mid - 20):
        expected = shape.thickness / 2 - abs(z - shape.mid)
        assert shape.depth(5.0, 0.0, z) == pytest.approx(expected)
    assert shape.depth(shape.length + 20, 0.0, shape.mid) < 0


class Blob:
    """A Gaussian of 1 mm at ``point``, as much of a `Slab` as `project` asks for."""

    def __init__(self, point):
        self.grid = Grid(1024, 400, 62, 245 / 1024, 1.0, 0.0)
        self.u, self.v, self.z = self.grid.u(), self.grid.v(), self.grid.z()
        self.columns = slice(None)
        self.rows = slice(None)
        self.point = point

    def attenuation(self, k):
        scale = self.grid.scale(float(self.z[k]))
        u, v, z = self.point
        du, dv, dz = self.u[None] / scale - u, self.v[:, None] / scale - v, self.z[k] - z
        return torch.exp(-(du**2 + dv**2 + dz**2) / 2)


@pytest.mark.parametrize("point", [(40.0, 0.0, 10.0), (60.0, 50.0, 50.0), (20.0, -70.0, 30.0)])
def test_projections_follow_the_rays_of_a_source_on_its_arc(point):
    """Cone-beam rays from a source on the true arc; the code keeps it at one height: below 0.2 mm."""
    blob = Blob(point)
    grid = blob.grid
    u, v, z = point
    middle = AIR_GAP + grid.height / 2
    magnification = SOURCE_DISTANCE / (SOURCE_DISTANCE - middle)
    angles = np.radians(np.linspace(-SWEEP / 2, SWEEP / 2, PROJECTIONS))
    for image, angle in zip(project(blob), angles, strict=True):
        weight = torch.where(image > 0.02 * image.max(), image, 0.0)
        found_v = float((weight.sum(1) * blob.v).sum() / weight.sum())
        found_u = float((weight.sum(0) * blob.u).sum() / weight.sum())
        height, source = SOURCE_DISTANCE * math.cos(angle), -SOURCE_DISTANCE * math.sin(angle)
        cone = height / (height - AIR_GAP - z)
        registered = source * middle / (SOURCE_DISTANCE - middle)  # pivot at mid height
        expected_v = (source + (v - source) * cone + registered) / magnification
        assert found_v == pytest.approx(expected_v, abs=0.2)
        assert found_u == pytest.approx(u * cone / magnification, abs=0.2)


def test_line_integral_of_a_blob():
    """The integral over the image is that over the blob: (2 pi)^(3/2) mm^3."""
    blob = Blob((40.0, 0.0, 31.0))
    total = project(blob)[7].sum() * blob.grid.pixel**2
    assert float(total) == pytest.approx((2 * math.pi) ** 1.5, rel=0.01)
