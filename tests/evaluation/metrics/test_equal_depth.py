from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dbtssl.errors import DataError
from dbtssl.evaluation.comparison.compare_methods import compare
from dbtssl.evaluation.metrics.equal_depth import at_equal_depth
from dbtssl.evaluation.metrics.measure import measure
from dbtssl.evaluation.protocol import STRICT
from dbtssl.evaluation.score_set import ScoreSet
from dbtssl.evaluation.statistics.intervals import auc_value
from dbtssl.evaluation.statistics.placements import placements


def slices(units, n=3000, seed=0, skill=0.0, prior=4.0):
    """Abnormal slices lie in the middle; the score has some skill, and knows the depth."""
    rng = np.random.default_rng(seed)
    abnormal = rng.random(n) < 0.2
    depth = np.where(abnormal, rng.normal(0.45, 0.12, n).clip(0, 1), rng.random(n))
    score = rng.normal(size=n) + skill * abnormal - prior * np.abs(depth - 0.45)
    return replace(units(abnormal, score, np.arange(n) // 10), depth=depth)


def test_a_score_that_knows_the_depth_alone_is_worth_nothing(units):
    given = slices(units)
    assert placements(given.abnormal, given.scores).auc > 0.65
    found = at_equal_depth(given, bands=50)
    assert placements(found.abnormal, found.scores).auc == pytest.approx(0.5, abs=0.04)


def test_skill_beyond_depth_stays(units):
    given = slices(units, skill=1.0)
    alone = slices(units, skill=1.0, prior=0.0)
    found = at_equal_depth(given, bands=50)
    expected = roc_auc_score(alone.abnormal, alone.scores)
    assert placements(found.abnormal, found.scores).auc == pytest.approx(expected, abs=0.04)


def test_it_is_the_mean_over_abnormal_slices_of_wins_within_their_band(units):
    rng = np.random.default_rng(3)
    abnormal = rng.random(200) < 0.3
    depth, score = rng.integers(0, 4, 200) / 4.0, rng.integers(0, 6, 200).astype(float)
    given = replace(units(abnormal, score, np.arange(200)), depth=depth)
    found = at_equal_depth(given, bands=4)
    edges = np.quantile(depth[~abnormal], [0.25, 0.5, 0.75])
    band = np.digitize(depth, edges, right=True)
    for i in range(200):
        others = score[~abnormal & (band == band[i])]
        wins = (score[i] > others).mean() + 0.5 * (score[i] == others).mean()
        assert found.scores[i] == pytest.approx(wins)


def test_beyond_all_normal_slices_the_last_band_is_compared_with(units):
    given = units([0, 0, 1, 1], [1.0, 2.0, 3.0, 0.0], np.arange(4))
    found = at_equal_depth(replace(given, depth=np.array([0.2, 0.3, 0.9, 0.0])), bands=2)
    assert found.scores.tolist() == [0.5, 0.5, 1.0, 0.0]
    assert found.ids == given.ids


def test_a_band_without_normal_slices_gives_way_to_the_nearest():
    depth = np.array([0.1, 0.1, 0.9, 0.4, 0.8])
    given = ScoreSet(
        "slice",
        tuple("abcde"),
        np.arange(5),
        np.array([0, 0, 0, 1, 1], bool),
        np.array([1.0, 3.0, 5.0, 2.0, 4.0]),
        depth,
    )
    found = at_equal_depth(given, bands=10)
    assert found.scores.tolist() == [
        0.25,
        0.75,
        0.5,
        0.0,
        0.0,
    ]  # 0.4 is three bands from 0.9, six from 0.1


def test_without_a_normal_slice_it_is_refused(units):
    with pytest.raises(DataError, match="no normal slice"):
        at_equal_depth(replace(units([1, 1], [0.0, 1.0], np.arange(2)), depth=np.array([0.1, 0.2])))


def test_units_without_a_depth_are_refused(units):
    volumes = units([0, 1], [0.0, 1.0], np.arange(2), level="volume")
    with pytest.raises(DataError, match="volumes have no depth"):
        at_equal_depth(volumes)


def test_the_table_has_it_for_slices_with_the_interval_of_an_auc(units):
    """Brute force over bands, and the interval of `auc_value` on the places."""
    given = slices(units, n=400, skill=1.0)
    row = measure(given, None, STRICT)
    edges = np.quantile(given.depth[~given.abnormal], np.arange(1, 10) / 10)
    band = np.digitize(given.depth.clip(0, given.depth[~given.abnormal].max()), edges, right=True)
    places = np.empty(400)
    for i in range(400):
        others = given.scores[~given.abnormal & (band == band[i])]
        places[i] = (given.scores[i] > others).mean() + 0.5 * (given.scores[i] == others).mean()
    found = row.values["auc-depth"]
    assert found.value == pytest.approx(roc_auc_score(given.abnormal, places))
    assert found == auc_value(replace(given, scores=places), STRICT)
    of_volumes = measure(replace(given, level="volume", depth=None), None, STRICT)
    assert of_volumes.values["auc-depth"].reason == "only slices have a depth in the stack"


def test_methods_are_compared_at_equal_depth_as_their_places_are(units):
    family = {
        name: [slices(units, n=600, seed=0, skill=skill, prior=p)]
        for name, skill, p in (("sees", 1.0, 0.0), ("knows", 0.0, 6.0))
    }
    raw, equal = (compare(family, "knows", metric=m)[0] for m in ("auc", "auc-depth"))
    by_hand = compare({m: [at_equal_depth(s[0])] for m, s in family.items()}, "knows")[0]
    assert raw.difference < 0.1 < equal.difference
    assert equal.metric == "auc-depth"
    assert equal.p is not None
    same = ("difference", "low", "high", "p", "error", "df")
    assert [getattr(equal, f) for f in same] == [getattr(by_hand, f) for f in same]


def test_another_order_of_slices_takes_their_depths_along(units):
    one = slices(units, n=300, skill=1.0)
    order = np.random.default_rng(1).permutation(300)
    other = one.taken(order)
    found = compare({"a": [one], "b": [other]}, "a", metric="auc-depth")[0]
    assert found.difference == 0
