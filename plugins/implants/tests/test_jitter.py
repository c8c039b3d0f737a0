from __future__ import annotations

import pytest
import torch
from dbtssl_implants.objective import cut_windows, windows

SEEDS = torch.arange(5000)


def test_the_whole_view_unflipped_is_the_view():
    images = torch.rand(3, 2, 16, 16)
    assert torch.allclose(
        cut_windows(images, windows(SEEDS[:3], 0, 1.0, 0.0), 16), images, atol=1e-5
    )


def test_a_flip_mirrors_the_columns():
    images = torch.rand(3, 1, 16, 16)
    flipped = cut_windows(images, windows(SEEDS[:3], 0, 1.0, 1.0), 16)
    assert torch.allclose(flipped, images.flip(3), atol=1e-5)


@pytest.mark.parametrize("smallest", [0.5, 0.8])
def test_windows_lie_within_the_view_and_have_their_sizes(smallest):
    where = windows(SEEDS, 1, smallest, 0.5)
    side = where[:, 1, 1]
    assert smallest <= side.min() < smallest + 0.01
    assert 0.99 < side.max() <= 1.0
    assert torch.equal(where[:, 0, 0].abs(), side)
    assert bool((where[:, :, 2].abs() <= 1.0 - side[:, None] + 1e-6).all())
    assert abs(float((where[:, 0, 0] < 0).float().mean()) - 0.5) < 3 * 0.5 / 5000**0.5


def test_image_and_mask_move_together():
    images = torch.rand(4, 1, 16, 16)
    cut = cut_windows(torch.cat([images, images], dim=1), windows(SEEDS[:4], 2, 0.6, 0.5), 8)
    assert cut.shape == (4, 2, 8, 8)
    assert torch.equal(cut[:, 0], cut[:, 1])
    assert not torch.equal(cut[0, 0], cut[1, 0])


def test_crops_of_one_sample_have_windows_of_their_own():
    first, second = (windows(SEEDS[:3], crop, 0.5, 0.5) for crop in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(first, windows(SEEDS[:3], 0, 0.5, 0.5))
