import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score, roc_auc_score

from dbtssl.evaluation.metrics.rates import rate_values
from dbtssl.evaluation.score_set import counts_at
from dbtssl.evaluation.statistics.placements import placements


def random_case(seed, n=60, levels=12):
    """Integer scores with many ties."""
    rng = np.random.default_rng(seed)
    abnormal = rng.random(n) < 0.4
    abnormal[:2] = True, False
    return abnormal, rng.integers(levels, size=n) + 2.0 * abnormal


def test_auc_of_the_four_point_example():
    assert placements(np.array([0, 0, 1, 1], bool), np.array([0.1, 0.4, 0.35, 0.8])).auc == 0.75


@pytest.mark.parametrize("seed", range(20))
def test_auc_is_the_u_statistic_and_scikit_learns(seed):
    abnormal, scores = random_case(seed)
    x, y = scores[abnormal][:, None], scores[~abnormal][None]
    kernel = (x > y) + 0.5 * (x == y)
    result = placements(abnormal, scores)
    assert result.auc == pytest.approx(kernel.mean(), abs=1e-15)
    assert result.auc == pytest.approx(roc_auc_score(abnormal, scores), abs=1e-12)
    np.testing.assert_allclose(result.abnormal, kernel.mean(axis=1), atol=1e-15)
    np.testing.assert_allclose(result.normal, kernel.mean(axis=0), atol=1e-15)


def test_auc_under_monotone_maps_and_reversal():
    abnormal, scores = random_case(3)
    auc = placements(abnormal, scores).auc
    assert placements(abnormal, np.exp(scores / 3)).auc == auc
    assert placements(abnormal, -scores).auc == pytest.approx(1 - auc, abs=1e-15)
    assert placements(abnormal, np.zeros(len(scores))).auc == 0.5


@pytest.mark.parametrize("threshold", [-1.0, 3.0, 3.5, 6.0, 99.0])
def test_counts_and_rates_are_scikit_learns(threshold, units):
    abnormal, scores = random_case(5)
    called = scores > threshold
    counts = counts_at(abnormal, scores, threshold)
    tn, fp, fn, tp = confusion_matrix(abnormal, called, labels=[False, True]).ravel()
    assert counts == (tp, fp, tn, fn)
    values = rate_values(units(abnormal, scores), threshold, 0.95)
    assert values["ar"].value == pytest.approx(recall_score(abnormal, called))
    assert values["nr"].value == pytest.approx(recall_score(~abnormal, ~called))
    if called.all():
        assert values["npv"].value is None
        assert values["npv"].reason == "there are no volumes called normal"
    else:
        assert values["npv"].value == pytest.approx(precision_score(~abnormal, ~called))


def test_a_score_at_the_threshold_is_called_normal():
    counts = counts_at(np.array([True, False]), np.array([1.0, 1.0]), 1.0)
    assert counts == (0, 0, 1, 1)
