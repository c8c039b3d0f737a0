import itertools

import numpy as np
import pytest
from scipy.special import expit

from dbtssl.errors import ConfigError
from dbtssl.evaluation.operating_points.threshold_rules import (
    RULES,
    ThresholdRule,
    choose_threshold,
    threshold_draws,
    threshold_rule,
)
from dbtssl.evaluation.statistics.clustered import patient_draws

from ..conftest import balanced

TEXTS = ("balanced", "youden", "sensitivity-0.9", "cost-20", "one-half", "balanced-grid")


def case(seed, levels=None, n=60):
    rng = np.random.default_rng(seed)
    abnormal = rng.random(n) < 0.3
    abnormal[:2] = True, False
    scores = 2 * (rng.normal(size=n) + abnormal)
    return abnormal, scores if levels is None else np.round(scores * levels) / levels


def all_that_differ(scores):
    """Below all scores, at the middle of neighbours, at the highest; by a loop."""
    values = sorted(set(scores))
    middle = [(a + b) / 2 for a, b in itertools.pairwise(values)]
    return [np.nextafter(values[0], -np.inf), *middle, values[-1]]


def loss(rule, abnormal, scores, weights, threshold):
    """What each rule makes small, by its definition; larger thresholds are preferred by ``sensitivity`` alone."""
    called = scores > threshold
    ar = weights[called & abnormal].sum() / weights[abnormal].sum()
    nr = weights[~called & ~abnormal].sum() / weights[~abnormal].sum()
    if rule.name == "sensitivity":
        return -threshold if ar >= rule.number - 1e-12 else np.inf
    if rule.name == "cost":
        missed, alarms = weights[~called & abnormal].sum(), weights[called & ~abnormal].sum()
        return rule.number * missed + alarms
    return round(-(ar + nr) if rule.name == "youden" else abs(nr - ar), 12)


@pytest.mark.parametrize(
    "text", ["balanced", "youden", "sensitivity-0.9", "sensitivity-1", "cost-3"]
)
@pytest.mark.parametrize("levels", [None, 1])
@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_is_the_best_of_all_and_the_lowest_of_equals(seed, levels, text):
    abnormal, scores = case(seed, levels)
    rule = threshold_rule(text)
    candidates = all_that_differ(scores)
    losses = [loss(rule, abnormal, scores, np.ones(len(scores)), t) for t in candidates]
    assert choose_threshold(abnormal, scores, rule) == candidates[int(np.argmin(losses))]


@pytest.mark.parametrize("text", ["balanced", "youden", "sensitivity-0.9", "cost-3"])
@pytest.mark.parametrize("levels", [None, 1])
def test_thresholds_of_draws_by_hand(units, text, levels):
    abnormal, scores = case(7, levels)
    patients = np.random.default_rng(7).integers(15, size=len(scores))
    rule = threshold_rule(text)
    weights = patient_draws(abnormal, patients, 20)
    got = threshold_draws(units(abnormal, scores, patients), weights, rule)
    candidates = all_that_differ(scores)
    for w, threshold in zip(weights, got, strict=True):
        of_unit = w[np.unique(patients, return_inverse=True)[1]]
        losses = [loss(rule, abnormal, scores, of_unit, t) for t in candidates]
        assert threshold == candidates[int(np.argmin(losses))]


@pytest.mark.parametrize("text", TEXTS)
def test_a_draw_of_everybody_once_is_the_choice(units, text):
    abnormal, scores = case(3)
    once = threshold_draws(units(abnormal, scores), np.ones((1, len(scores))), threshold_rule(text))
    assert once == [choose_threshold(abnormal, scores, threshold_rule(text))]


def test_many_candidates_are_thinned_and_near(units):
    """Of 20,000 scores about 1,300 candidates are tried: NR and AR come as close as with all of them, to 0.001."""
    rng = np.random.default_rng(0)
    abnormal = np.arange(20_000) < 300
    scores = rng.normal(size=20_000) + 1.5 * abnormal
    patients = np.arange(20_000) // 50
    (once,) = threshold_draws(
        units(abnormal, scores, patients), np.ones((1, 400)), threshold_rule("balanced")
    )

    def gap(t):
        return abs((scores[abnormal] > t).mean() - (scores[~abnormal] <= t).mean())

    assert gap(once) <= gap(balanced(abnormal, scores)) + 1e-3


def test_the_grid_is_that_of_sift_dbts_code():
    """``volume_eval.py:84-113``: probabilities 0, 0.01, ... 1, ``score > threshold``, least |NR - AR|, the first."""
    for seed in range(10):
        abnormal, scores = case(seed)
        p = expit(scores)
        grid = np.arange(101) / 100
        gaps = [round(abs((p[abnormal] > t).mean() - (p[~abnormal] <= t).mean()), 12) for t in grid]
        best = grid[int(np.argmin(gaps))]
        threshold = choose_threshold(abnormal, scores, ThresholdRule("balanced-grid"))
        np.testing.assert_array_equal(scores > threshold, p > best)


def test_the_grid_cannot_balance_saturated_scores():
    """Probabilities of 0.995 and more: the last step of the grid calls all abnormal, or none."""
    abnormal, scores = case(1)
    for shift in (20.0, 1e6):
        threshold = choose_threshold(abnormal, scores + shift, ThresholdRule("balanced-grid"))
        called = scores + shift > threshold
        assert called.all() or not called.any()
        balanced = choose_threshold(abnormal, scores + shift, ThresholdRule("balanced"))
        assert 0 < (scores + shift > balanced).mean() < 1


def test_a_draw_without_normals_has_no_threshold(units):
    chosen = threshold_draws(
        units([1, 1, 0], [3.0, 2.0, 1.0], [0, 1, 1]),
        np.array([[1.0, 1.0], [2.0, 0.0]]),
        threshold_rule("balanced"),
    )
    np.testing.assert_array_equal(np.isnan(chosen), [False, True])


def test_half_looks_at_no_data(units):
    assert (
        choose_threshold(np.array([True, False]), np.array([9.0, 8.0]), threshold_rule("one-half"))
        == 0
    )
    assert (
        threshold_draws(
            units([1, 0], [9.0, 8.0]), np.ones((3, 2)), threshold_rule("one-half")
        ).sum()
        == 0
    )


@pytest.mark.parametrize("number", ["", "-", "-0", "-1.5", "-nan", "-x", "--1"])
@pytest.mark.parametrize("name", ["", "balance", "sensitivity", "cost"])
def test_rules_that_are_none(name, number):
    text = "cost-inf" if (name, number) == ("cost", "-1.5") else name + number
    refused(text)


@pytest.mark.parametrize(
    "text", ["youden-3", "one-half-1", "balanced-grid-0.01", "balanced-0.5", "Balanced"]
)
def test_rules_without_a_number(text):
    refused(text)


def refused(text):
    with pytest.raises(ConfigError, match="unknown threshold rule") as caught:
        threshold_rule(text)
    assert all(rule in caught.value.hint for rule in RULES)
