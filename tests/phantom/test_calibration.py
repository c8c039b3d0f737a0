"""The phantom against real tomosynthesis: texture, grey levels, depth of focus, outline, noise, density."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.filters import threshold_otsu
from skimage.measure import label, regionprops

from dbtssl.phantom.cohort.phantom_cohort import plan
from dbtssl.phantom.imaging.acquisition import filter_projections, project, reconstruct
from dbtssl.phantom.imaging.anatomy import FAT, GLAND, Slab
from dbtssl.phantom.imaging.detector import READOUT, SCATTER, display, expose
from dbtssl.phantom.imaging.render import render
from dbtssl.phantom.model.compression import compress
from dbtssl.phantom.model.geometry import Grid
from dbtssl.phantom.model.phantom_config import PhantomConfig
from dbtssl.phantom.model.subject import Breast, Positioning, Technique

# 59 annotated slices of BCS-DBT: quantiles of the grey level within the breast
REAL_LEVELS = {0.01: 301, 0.10: 326, 0.25: 343, 0.50: 368, 0.75: 404, 0.90: 451, 0.99: 549}
BAND = 0.1, 0.5  # 1/mm, where Chen 2012 and the real slices were fitted
ROI = 50.0  # mm


def exponent(image, pixel, mask, regions=24):
    """Minus the slope of the radial power spectrum over 50 mm regions within ``mask``."""
    rng = np.random.default_rng(0)
    m = int(ROI / pixel) // 2 * 2
    window = np.hanning(m)[:, None] * np.hanning(m)
    power, found = np.zeros((m, m)), 0
    for y, x in rng.permutation(np.argwhere(mask))[:400] - m // 2:
        if min(y, x) < 0 or y + m > len(mask) or x + m > mask.shape[1]:
            continue
        if not mask[y : y + m, x : x + m].all():
            continue
        region = image[y : y + m, x : x + m].astype(float)
        power += np.abs(np.fft.fft2((region - region.mean()) * window)) ** 2
        found += 1
        if found == regions:
            break
    if not found:
        return None
    f = np.fft.fftfreq(m, pixel)
    f = np.hypot(f[:, None], f)
    bins = np.digitize(f, np.linspace(*BAND, 13))
    points = [(f[bins == b].mean(), power[bins == b].mean()) for b in range(1, 13)]
    return -np.polyfit(*np.log(points).T, 1)[0]


def exponents(samples):
    found = [exponent(s.middle, s.config.pixel, s.interior) for s in samples]
    return [b for b in found if b is not None]


def test_exponent_recovers_a_known_power_law():
    n, pixel, beta = 256, 0.96, 2.85
    f = np.fft.fftfreq(n, pixel)
    f = np.hypot(f[:, None], f)
    f[0, 0] = 1
    white = np.fft.fft2(np.random.default_rng(1).normal(size=(n, n)))
    image = np.fft.ifft2(white * f ** (-beta / 2)).real
    assert exponent(image, pixel, np.ones((n, n), bool)) == pytest.approx(beta, abs=0.15)


def test_texture_has_the_exponent_of_real_slices(samples):
    found = exponents(samples)
    assert len(found) >= 10
    assert 2.5 < np.mean(found) < 3.3


def test_texture_has_the_exponent_of_real_slices_at_twice_the_resolution(sample_of):
    config = PhantomConfig(rows=512, patients=3, seed=5, repeat_study=0, missing_view=0, spacing=2)
    found = exponents(sample_of(config, v) for v in plan(config) if v.view in ("lcc", "lmlo"))
    assert len(found) >= 3
    assert 2.5 < np.mean(found) < 3.3


def test_grey_levels_are_those_of_real_slices(samples):
    levels = list(REAL_LEVELS)
    found = np.mean([np.quantile(s.middle[s.breast], levels) for s in samples], axis=0)
    ratio = dict(zip(levels, found / np.array(list(REAL_LEVELS.values())), strict=True))
    assert ratio[0.50] == pytest.approx(1, abs=0.10)
    assert ratio[0.90] == pytest.approx(1, abs=0.15)
    assert all(abs(r - 1) < 0.15 for r in ratio.values()), ratio


def test_otsu_finds_the_breast(samples):
    for s in samples:
        mean = s.volume.mean(0)
        regions = label(mean > threshold_otsu(mean))
        largest = max(regionprops(regions), key=lambda region: region.area)
        found = np.zeros_like(s.breast)
        found[largest.slice] = largest.image_filled
        iou = (found & s.breast).sum() / (found | s.breast).sum()
        assert iou > 0.98, s.planned.id


class Bead:
    """A bright ball of diameter ``size`` mm in air, as much of a `Slab` as the acquisition asks for."""

    def __init__(self, size):
        self.size = size
        self.grid = Grid(1024, 64, 62, 0.24, 1.0, 0.0)
        breast = Breast(seed=1, twin=2, thickness=56.0)
        self.shape = compress(breast, Positioning("cc", left=True), self.grid.height)
        self.u, self.v, self.z = self.grid.u(), self.grid.v(), self.grid.z()
        self.rows = slice(None)
        self.centre = 8.0, 0.0, 31.0

    def attenuation(self, k):
        scale = self.grid.scale(float(self.z[k]))
        u, v, z = self.centre
        du, dv, dz = self.u[None] / scale - u, self.v[:, None] / scale - v, self.z[k] - z
        r = (du**2 + dv**2 + dz**2).sqrt()
        return 0.3 * torch.sigmoid(
            (self.size / 2 - r) / (0.2 * max(self.grid.pixel, self.size / 4))
        )


def spread(size):
    """Full width at half maximum across slices, in mm."""
    bead = Bead(size)
    filtered = filter_projections(project(bead), bead.grid.pixel, Technique())
    stack = torch.cat([slices for _, slices in reconstruct(filtered, bead.grid)])
    x, y = (int(c) for c in bead.grid.pixel_at(*bead.centre))
    profile = stack[:, y - 1 : y + 2, x - 1 : x + 2].amax((1, 2)).numpy()
    profile = np.interp(np.arange(0, len(profile), 0.01), np.arange(len(profile)), profile)
    return (profile > profile.max() / 2).sum() * 0.01 * bead.grid.spacing


def test_focal_depth_is_that_of_a_quality_control_bead():
    assert 6 < spread(0.8) < 11


def test_focal_depth_grows_with_the_detail():
    assert spread(0.8) < spread(2.0)


def deviation(photons, pixel=1.0, integral=2.0):
    integrals = torch.full((15, 200, 100), integral)
    noisy = expose(integrals, 50.0, pixel, Technique(photons=photons, seed=3))
    return float((noisy - integral).std())


@pytest.mark.parametrize(("photons", "pixel"), [(1e4, 1.0), (4e4, 1.0), (1e4, 0.5)])
def test_noise_variance_is_that_of_the_counts(photons, pixel):
    counts = photons * pixel**2 * np.exp(0.055 * 50.0 - 2.0)
    expected = (counts * (1 + SCATTER) + READOUT) / counts**2
    assert deviation(photons, pixel) ** 2 == pytest.approx(expected, rel=0.02)


def test_noise_variance_goes_with_one_over_photons():
    assert deviation(1e4) ** 2 / deviation(4e4) ** 2 == pytest.approx(4, rel=0.03)


def test_display_is_ten_bits_and_rises_with_attenuation():
    mu = torch.linspace(0, 0.2, 200)
    technique = Technique()
    levels = display(mu * 50 * technique.floor, 50.0, technique).numpy().astype(int)
    assert levels[0] == 0
    assert levels.max() <= 1023
    assert (np.diff(levels) >= 0).all()
    assert (np.diff(levels[mu.numpy() < 1.5 * GLAND]) > 0).all()


def test_realised_density_follows_the_parameter():
    found = []
    for density in (0.08, 0.18, 0.35, 0.55):
        breast = Breast(seed=7, twin=8, density=density)
        position = Positioning("cc", left=True)
        grid = Grid(96, 80, 24, 245 / 96, 65 / 24, 0.0)
        slab = Slab(breast, None, compress(breast, position, grid.height), grid)
        k = range(2, grid.n_slices - 2)
        inside = [
            slab.attenuation(i)[slab.shape.depth(slab.u[None], slab.v[:, None], slab.z[i]) > 8]
            for i in k
        ]
        found.append(float(((torch.cat(inside) - FAT) / (GLAND - FAT)).mean()))
    assert found == sorted(found)
    assert found[-1] > 2 * found[0]


def test_a_study_keeps_its_tissue_when_only_the_exposure_changes(samples):
    s = samples[0]
    other = replace(s.planned, technique=replace(s.planned.technique, seed=99))
    again, _ = render(s.config, other)
    difference = again.astype(float) - s.volume
    assert difference.std() > 0
    assert difference[:, s.interior].std() < 0.2 * s.volume[:, s.interior].std()
