from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dbtssl.errors import DataError
from dbtssl.evaluation.equal_depth import at_equal_depth
from dbtssl.evaluation.metrics import placements


def slices(units, n=3000, seed=0, skill=0.0, prior=4.0):
    """Abnormal slices lie in the middle; the score has some skill, and knows the depth."""
    rng = np.random.default_rng(seed)
    abnormal = rng.random(n) < 0.2
    depth = np.where(abnormal, rng.normal(0.45, 0.12, n).clip(0, 1), rng.random(n))
    score = rng.normal(size=n) + skill * abnormal - prior * np.abs(depth - 0.45)
    return units(abnormal, score, np.arange(n) // 10), depth


def test_a_score_that_knows_the_depth_alone_is_worth_nothing(units):
    given, depth = slices(units)
    assert placements(given.abnormal, given.scores).auc > 0.65
    found = at_equal_depth(given, depth, bands=50)
    assert placements(found.abnormal, found.scores).auc == pytest.approx(0.5, abs=0.04)


def test_skill_beyond_depth_stays(units):
    given, depth = slices(units, skill=1.0)
    alone, _ = slices(units, skill=1.0, prior=0.0)
    found = at_equal_depth(given, depth, bands=50)
    expected = roc_auc_score(alone.abnormal, alone.scores)
    assert placements(found.abnormal, found.scores).auc == pytest.approx(expected, abs=0.04)


def test_it_is_the_mean_over_abnormal_slices_of_wins_within_their_band(units):
    rng = np.random.default_rng(3)
    abnormal = rng.random(200) < 0.3
    depth, score = rng.integers(0, 4, 200) / 4.0, rng.integers(0, 6, 200).astype(float)
    found = at_equal_depth(units(abnormal, score, np.arange(200)), depth, bands=4)
    edges = np.quantile(depth[~abnormal], [0.25, 0.5, 0.75])
    band = np.digitize(depth, edges, right=True)
    for i in range(200):
        others = score[~abnormal & (band == band[i])]
        wins = (score[i] > others).mean() + 0.5 * (score[i] == others).mean()
        assert found.scores[i] == pytest.approx(wins)


def test_beyond_all_normal_slices_the_last_band_is_compared_with(units):
    given = units([0, 0, 1, 1], [1.0, 2.0, 3.0, 0.0], np.arange(4))
    found = at_equal_depth(given, np.array([0.2, 0.3, 0.9, 0.0]), bands=2)
    assert found.scores.tolist() == [0.5, 0.5, 1.0, 0.0]
    assert found.ids == given.ids


def test_without_a_normal_slice_it_is_refused(units):
    with pytest.raises(DataError, match="no normal slice"):
        at_equal_depth(units([1, 1], [0.0, 1.0], np.arange(2)), np.array([0.1, 0.2]))
