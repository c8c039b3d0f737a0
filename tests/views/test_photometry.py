from __future__ import annotations

import pytest
import torch
from scipy.ndimage import gaussian_filter

from dbtssl.interfaces import Photometry
from dbtssl.views.photometry import blur, photometry, reach

ALL = Photometry(0.4, 0.4, 0.8, (0.1, 2.0), 0.5, 0.05)
SEEDS = torch.arange(100, 116) * 7919


@pytest.fixture(scope="module")
def views():
    return torch.rand(16, 1, 24, 20, generator=torch.Generator().manual_seed(0))


def test_is_decided_by_the_seeds_alone(views):
    out = photometry(views, ALL, SEEDS)
    torch.manual_seed(5)
    assert torch.equal(out, photometry(views, ALL, SEEDS))
    assert not torch.equal(out, photometry(views, ALL, SEEDS + 1))


def test_each_sample_has_its_own_numbers(views):
    together = photometry(views, ALL, SEEDS)
    alone = torch.cat([photometry(views[i : i + 1], ALL, SEEDS[i : i + 1]) for i in range(16)])
    torch.testing.assert_close(together, alone)
    same_image = photometry(views[:1].expand(16, -1, -1, -1), ALL, SEEDS)
    assert len({round(float(x.mean()), 6) for x in same_image}) == 16


def test_stays_in_range_and_changes_nothing_when_off(views):
    out = photometry(views, Photometry(1.0, 1.0, 1.0, (0.1, 2.0), 1.0, 0.5), SEEDS)
    assert float(out.min()) >= 0.0
    assert float(out.max()) <= 1.0
    assert torch.equal(photometry(views, Photometry(), SEEDS), views)


def test_brightness_and_contrast_are_factors_within_their_widths():
    seeds = torch.arange(4000)
    grey = torch.full((4000, 1, 4, 4), 0.5)
    factor = photometry(grey, Photometry(brightness=0.4, p_jitter=1.0), seeds)[:, 0, 0, 0] / 0.5
    assert 0.6 <= float(factor.min()) < 0.61
    assert 1.39 < float(factor.max()) <= 1.4
    assert abs(float(factor.mean()) - 1.0) < 0.02
    step = grey.clone()
    step[:, :, :2] = 0.4
    step[:, :, 2:] = 0.6
    out = photometry(step, Photometry(contrast=0.4, p_jitter=1.0), seeds)
    spread = (out[:, 0, 3, 0] - out[:, 0, 0, 0]) / 0.2
    assert 0.6 - 1e-5 <= float(spread.min()) < 0.61
    assert 1.39 < float(spread.max()) <= 1.4 + 1e-5
    torch.testing.assert_close(out.mean(dim=(1, 2, 3)), torch.full((4000,), 0.5))


def test_probabilities_are_kept():
    seeds = torch.arange(4000)
    grey = torch.full((4000, 1, 4, 4), 0.5)
    jittered = photometry(grey, Photometry(brightness=0.4, p_jitter=0.3), seeds)[:, 0, 0, 0] != 0.5
    assert abs(float(jittered.float().mean()) - 0.3) < 0.03
    checks = torch.zeros(4000, 1, 4, 4)
    checks[:, :, ::2] = 1.0
    blurred = photometry(checks, Photometry(blur=(1.0, 2.0), p_blur=0.5), seeds)[:, 0, 1, 0] > 0.01
    assert abs(float(blurred.float().mean()) - 0.5) < 0.03


def test_blur_is_that_of_scipy(views):
    sigma = torch.linspace(0.3, 2.0, 16)
    out = blur(views, sigma, radius=reach(2.0))
    for image, own, got in zip(views[:, 0], sigma, out[:, 0], strict=True):
        expected = gaussian_filter(image.numpy(), float(own), mode="mirror", radius=6)
        torch.testing.assert_close(got, torch.from_numpy(expected), rtol=1e-4, atol=1e-5)


def test_blur_keeps_means_constants_and_unblurred_images(views):
    dot = torch.zeros(2, 1, 31, 31)
    dot[:, :, 15, 15] = 1.0
    out = blur(dot, torch.tensor([2.0, 0.0]), radius=6)
    torch.testing.assert_close(out.sum(dim=(1, 2, 3)), torch.ones(2))
    torch.testing.assert_close(out[1], dot[1])
    level = torch.full_like(views, 0.3)
    torch.testing.assert_close(blur(level, torch.full((16,), 1.5), radius=5), level)


def test_a_kernel_wider_than_the_view_is_cut():
    tiny = torch.rand(2, 1, 4, 4)
    assert blur(tiny, torch.full((2,), 2.0), radius=6).shape == tiny.shape


def test_noise_has_its_standard_deviation():
    grey = torch.full((8, 1, 64, 64), 0.5)
    out = photometry(grey, Photometry(noise=0.05), torch.arange(8))
    assert abs(float(out.std()) / 0.05 - 1.0) < 0.02
