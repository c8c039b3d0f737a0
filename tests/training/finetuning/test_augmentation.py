from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

from dbtssl.training.finetuning.augmentation import DRAWN, LightAugment, augment

OFF = LightAugment(flip=0, scale=(1, 1), p_affine=0, p_blur=0)


def patches(n=3, size=32):
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(0))


def drawn(augmentation, n, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([augmentation.draw(rng) for _ in range(n)]))


def test_nothing_changes_when_all_is_off():
    x = patches()
    torch.testing.assert_close(augment(x, drawn(OFF, 3)), x, atol=1e-5, rtol=0)


def test_a_flip_turns_the_columns_round():
    x = patches()
    flipped = augment(x, drawn(LightAugment(1, (1, 1), p_affine=0, p_blur=0), 3))
    torch.testing.assert_close(flipped, x.flip(3), atol=1e-5, rtol=0)


def test_the_blur_is_the_normalised_gaussian_of_three_taps():
    x = patches()
    numbers = drawn(LightAugment(0, (1, 1), p_affine=0, p_blur=1), 3)
    found = augment(x, numbers)
    for before, after, sigma in zip(x, found, numbers[:, 6].tolist(), strict=True):
        taps = np.exp(-0.5 * (np.array([-1, 0, 1]) / sigma) ** 2)
        expected = before[0].numpy()
        for axis in (0, 1):
            expected = correlate1d(expected, taps / taps.sum(), axis=axis, mode="nearest")
        np.testing.assert_allclose(after[0].numpy(), expected, atol=1e-5)


def test_a_quarter_turn_is_a_quarter_turn():
    x = patches()
    turn = torch.tensor([[0.0, -1, 0, 1, 0, 0, 0]]).expand(3, DRAWN)
    torch.testing.assert_close(augment(x, turn), x.rot90(1, (2, 3)), atol=1e-5, rtol=0)


def test_what_a_moved_patch_lacks_is_zero():
    move = torch.tensor([[1.0, 0, 1, 0, 1, 0, 0]])  # half the patch to the left
    moved = augment(torch.ones(1, 1, 32, 32), move)
    assert (moved[..., :15] == 1).all()
    assert (moved[..., 17:] == 0).all()


def test_crops_keep_their_share_and_ratio_and_lie_in_the_patch():
    augmentation = LightAugment(flip=0, p_affine=0, p_blur=0)
    width, skew_x, x, skew_y, height, y, _ = drawn(augmentation, 2000).double().numpy().T
    area, ratio = width * height, width / height
    assert 0.8 - 1e-6 < area.min() < 0.81
    assert 0.99 < area.max() < 1 + 1e-6
    assert ratio.min() >= 3 / 4 - 1e-6
    assert ratio.max() <= 4 / 3 + 1e-6
    assert (np.abs(x) + width <= 1 + 1e-6).all()
    assert (np.abs(y) + height <= 1 + 1e-6).all()
    assert not skew_x.any()
    assert not skew_y.any()


def test_probabilities_are_those_stated():
    theta = drawn(LightAugment(), 4000).numpy()
    flipped = theta[:, 0] * theta[:, 4] - theta[:, 1] * theta[:, 3] < 0
    turned = theta[:, 1] != 0
    assert flipped.mean() == pytest.approx(0.5, abs=0.03)
    assert turned.mean() == pytest.approx(0.2, abs=0.03)
    assert (theta[:, 6] > 0).mean() == pytest.approx(0.2, abs=0.03)
    assert theta[:, 6].max() <= 1.0


def test_a_sample_does_not_depend_on_its_batch():
    x, numbers = patches(8), drawn(LightAugment(p_affine=0.5, p_blur=0.5), 8)
    together = augment(x, numbers)
    for i in range(8):
        torch.testing.assert_close(augment(x[i : i + 1], numbers[i : i + 1]), together[i : i + 1])
