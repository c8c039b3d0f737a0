import numpy as np
import pytest
from sklearn.metrics import roc_curve

from dbtssl.evaluation.operating_points.points import specificity_at

from ..conftest import balanced


def random_case(seed, n=80, levels=None):
    rng = np.random.default_rng(seed)
    abnormal = rng.random(n) < 0.35
    abnormal[:2] = True, False
    scores = rng.normal(size=n) + abnormal
    return abnormal, scores if levels is None else np.round(scores * levels) / levels


def rates(abnormal, scores, threshold):
    called = scores > threshold
    return called[abnormal].mean(), (~called)[~abnormal].mean()


@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("seed", range(10))
def test_balanced_threshold_is_the_best_of_all(seed, levels):
    abnormal, scores = random_case(seed, levels=levels)
    recall, specificity = rates(abnormal, scores, balanced(abnormal, scores))
    tries = [rates(abnormal, scores, t) for t in (scores.min() - 1, *scores)]
    assert abs(recall - specificity) == min(abs(a - b) for a, b in tries)


def test_balanced_threshold_of_perfect_scores_lies_midway():
    abnormal = np.array([0, 0, 1, 1], bool)
    assert balanced(abnormal, np.array([1.0, 2.0, 5.0, 6.0])) == 3.5


def test_balanced_threshold_separates_neighbouring_floats():
    """The midpoint of two neighbouring floats is one of them."""
    scores = np.array([1.0, np.nextafter(1.0, 2.0)])
    assert rates(np.array([False, True]), scores, balanced(np.array([False, True]), scores)) == (
        1,
        1,
    )


def test_balanced_threshold_of_equal_scores_calls_all_abnormal():
    abnormal = np.array([0, 1], bool)
    assert rates(abnormal, np.full(2, 1e38), balanced(abnormal, np.full(2, 1e38))) == (
        1,
        0,
    )


@pytest.mark.parametrize("target", [0.87, 0.80, 1.0, 0.5, 0.01])
@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("seed", range(5))
def test_specificity_on_the_vertices_of_scikit_learns_curve(seed, levels, target):
    abnormal, scores = random_case(seed, levels=levels)
    fpr, tpr, _ = roc_curve(abnormal, scores, drop_intermediate=False)
    at_least = specificity_at(abnormal, scores, target, "at-least")
    assert at_least.specificity == pytest.approx((1 - fpr[tpr >= target - 1e-12]).max())
    nearest = specificity_at(abnormal, scores, target, "nearest")
    kept_fpr, kept_tpr, _ = roc_curve(abnormal, scores)
    index = np.argmin(np.abs(kept_tpr - target))
    assert nearest.specificity == pytest.approx(1 - kept_fpr[index])
    assert nearest.sensitivity == pytest.approx(kept_tpr[index])
    interpolated = specificity_at(abnormal, scores, target, "interpolated")
    i = np.flatnonzero(tpr >= target - 1e-12)[0]
    share = min((tpr[i] - target) / (tpr[i] - tpr[i - 1]), 1)
    expected = 1 - fpr[i] + max(share, 0) * (fpr[i] - fpr[i - 1])
    assert interpolated.specificity == pytest.approx(expected)
    if levels is None:
        assert interpolated.specificity == pytest.approx(at_least.specificity)


@pytest.mark.parametrize("rule", ["at-least", "nearest"])
@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_gives_what_is_attained(seed, levels, rule):
    abnormal, scores = random_case(seed, levels=levels)
    point = specificity_at(abnormal, scores, 0.8, rule)
    sensitivity, specificity = rates(abnormal, scores, point.threshold)
    assert sensitivity == pytest.approx(point.sensitivity)
    assert specificity == pytest.approx(point.specificity)


def test_nearest_undershoots_on_39_positives():
    """SIFT-DBT's SP@80 at volume level is taken at 31 of 39, a sensitivity of 79.49 %; SP@87 at 34 of 39."""
    rng = np.random.default_rng(0)
    abnormal = np.r_[np.ones(39, bool), np.zeros(400, bool)]
    scores = rng.permutation(439).astype(float)
    assert specificity_at(abnormal, scores, 0.80, "nearest").sensitivity == 31 / 39
    assert round(100 * 31 / 39, 2) == 79.49
    assert specificity_at(abnormal, scores, 0.80, "at-least").sensitivity == 32 / 39
    assert specificity_at(abnormal, scores, 0.87, "nearest").sensitivity == 34 / 39


def test_nearest_may_call_nothing_abnormal():
    abnormal = np.array([1, 0], bool)
    point = specificity_at(abnormal, np.array([0.0, 1.0]), 0.3, "nearest")
    assert point == (1.0, 0.0, 1.0)


def test_interpolated_between_ties_has_no_threshold():
    abnormal = np.array([1, 1, 0, 0], bool)
    point = specificity_at(abnormal, np.zeros(4), 0.8, "interpolated")
    assert point.threshold is None
    assert point.specificity == pytest.approx(0.2)
    assert specificity_at(abnormal, np.zeros(4), 0.8).specificity == 0
