from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from dbtssl.views.random_numbers import normal, uniform

SEEDS = torch.arange(20_000)


def test_uniform_over_consecutive_seeds_and_over_positions():
    for sample in (uniform(SEEDS, 0), uniform(SEEDS[:1], 0, (20_000,))[0]):
        assert float(sample.min()) >= 0.0
        assert float(sample.max()) < 1.0
        assert stats.kstest(sample.numpy(), "uniform").pvalue > 1e-3


def test_normal_is_normal():
    sample = normal(SEEDS[:4], 0, (100, 100)).numpy().ravel()
    assert stats.kstest(sample, "norm").pvalue > 1e-3


def test_streams_seeds_and_positions_are_independent():
    one, other = uniform(SEEDS, 0).numpy(), uniform(SEEDS, 1).numpy()
    shifted = uniform(SEEDS + 2**32, 0).numpy()  # seeds that differ in the upper word alone
    grid = uniform(SEEDS[:2], 0, (20_000,)).numpy()
    for a, b in ((one, other), (one, shifted), (one[1:], one[:-1]), (grid[0], grid[1])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(len(a))


def test_a_samples_numbers_do_not_depend_on_its_batch():
    together = normal(SEEDS[:8], 3, (5, 5))
    alone = torch.cat([normal(SEEDS[i : i + 1], 3, (5, 5)) for i in range(8)])
    assert torch.equal(together, alone)
