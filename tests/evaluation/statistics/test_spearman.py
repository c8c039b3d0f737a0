"""Spearman's rho in draws, against scipy on the items written out as often as they are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from dbtssl.evaluation.statistics import spearman
from dbtssl.evaluation.statistics.spearman import spearman_draws


def material(decimals):
    rng = np.random.default_rng(0)
    patients = np.sort(rng.integers(12, size=40)) * 7
    x = rng.normal(size=40).round(decimals)
    y = (x + rng.normal(size=40)).round(decimals)
    weights = rng.integers(0, 4, size=(25, len(np.unique(patients)))).astype(float)
    return x, y, patients, weights


@pytest.mark.parametrize("decimals", [9, 0])  # without ties, and with many
def test_a_draw_is_scipys_of_the_items_written_out(decimals):
    x, y, patients, weights = material(decimals)
    codes = np.unique(patients, return_inverse=True)[1]
    expected = []
    for row in weights:
        times = row[codes].astype(int)
        expected.append(spearmanr(np.repeat(x, times), np.repeat(y, times)).statistic)
    assert spearman_draws(x, y, patients, weights) == pytest.approx(expected, abs=1e-12)


def test_blocks_change_nothing(monkeypatch):
    whole = spearman_draws(*material(1))
    monkeypatch.setattr(spearman, "CELLS", 100)
    assert (spearman_draws(*material(1)) == whole).all()


def test_a_constant_side_has_no_rho():
    x, _, patients, weights = material(1)
    assert np.isnan(spearman_draws(x, np.ones(40), patients, weights)).all()
