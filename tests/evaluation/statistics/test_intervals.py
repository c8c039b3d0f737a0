import numpy as np
import pytest
from scipy.stats import norm

from dbtssl.evaluation.catalogue import DEFAULT
from dbtssl.evaluation.metrics.measure import measure
from dbtssl.evaluation.metrics.rates import rate_values
from dbtssl.evaluation.protocol import STRICT


def values(units, threshold=0.0):
    found = measure(units, None, STRICT).values | rate_values(units, threshold, STRICT.confidence)
    return {name: found[name] for name in DEFAULT}


def test_intervals_hold_their_values(units):
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(40), 2)
    abnormal = patients < 12
    scores = rng.normal(size=80) + 1.5 * abnormal
    for value in values(units(abnormal, scores, patients), 0.7).values():
        assert value.low < value.value < value.high
        assert value.reason == ""


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_positive_patients_have_no_interval(units, count):
    abnormal = np.arange(12) < count
    cells = values(units(abnormal, np.sin(np.arange(12.0)), np.arange(12)))
    for name in ("auc", "npv", "ar", "sp@87", "sp@80"):
        assert cells[name].reason == f"interval needs 4 positive patients, has {count}"
        assert cells[name].value is not None
        assert cells[name].low is cells[name].high is None
    assert cells["nr"].low is not None


def test_four_positive_patients_have_intervals(units):
    cells = values(units(np.arange(12) < 4, np.sin(np.arange(12.0)), np.arange(12)))
    assert all(value.low is not None for value in cells.values())


def test_few_patients_with_normals_have_no_interval(units):
    cells = values(units([1] * 4 + [0] * 3, np.sin(np.arange(7.0)), [0, 1, 2, 3, 4, 4, 5]))
    assert cells["auc"].reason == "interval needs 4 patients with normal volumes, has 2"
    assert cells["nr"].reason == "interval needs 4 patients with normal volumes, has 2"


def test_few_patients_called_normal_have_no_interval(units):
    cells = rate_values(units([1] * 4 + [0] * 4, [1.0] * 5 + [-1.0] * 3), 0.0, STRICT.confidence)
    assert cells["npv"].reason == "interval needs 4 patients with volumes called normal, has 3"


@pytest.mark.parametrize(("sign", "auc", "specificity"), [(1, 1.0, 1.0), (-1, 0.0, 0.0)])
def test_complete_separation_has_no_interval(units, sign, auc, specificity):
    abnormal = [1] * 4 + [0] * 5
    cells = values(units(abnormal, sign * np.array([9.0, 8, 7, 6, 5, 4, 3, 2, 1])), 5.5)
    assert cells["auc"].value == auc
    assert "separate the classes completely" in cells["auc"].reason
    assert cells["sp@87"].value == specificity
    assert cells["sp@87"].reason == "every draw of patients gives the same value"


def test_equal_scores_have_no_interval(units):
    cells = values(units([1] * 4 + [0] * 5, np.zeros(9)), 0.0)
    assert cells["auc"].value == 0.5
    assert cells["auc"].reason == "all scores are equal"
    assert cells["sp@80"].value == 0


def test_all_right_still_has_an_interval(units):
    """AR 100 % in 21 patients: Wilson at p = 1 with t(20), lower end n / (n + t^2)."""
    cells = rate_values(
        units([1] * 21 + [0] * 30, [1.0] * 21 + [-1.0] * 30), 0.0, STRICT.confidence
    )
    assert cells["ar"].low == pytest.approx(21 / (21 + 2.085963**2), abs=1e-6)
    assert (cells["ar"].value, cells["ar"].high) == (1, 1)


@pytest.mark.slow
def test_coverage_of_all_intervals(units):
    """On SIFT-DBT's layout, smaller: 21 positive patients of 200, a strong effect of the patient."""
    rng = np.random.default_rng(0)
    shift = np.sqrt(2) * norm.ppf(0.9)
    threshold = shift / 2
    truth = {
        "auc": 0.9,
        "nr": norm.cdf(threshold),
        "ar": norm.sf(threshold - shift),
        "sp@87": norm.cdf(shift - norm.ppf(0.87)),
        "sp@80": norm.cdf(shift - norm.ppf(0.80)),
    }
    draws, held = 300, dict.fromkeys(truth, 0)
    for _ in range(draws):
        sizes = np.r_[rng.choice([1, 2, 3], 21, p=[0.3, 0.55, 0.15]), np.full(179, 4)]
        patients = np.repeat(np.arange(200), sizes)
        abnormal = patients < 21
        own = rng.normal(size=200)[patients]
        scores = np.sqrt(0.5) * (own + rng.normal(size=len(patients))) + shift * abnormal
        cells = values(units(abnormal, scores, patients), threshold)
        for name, true in truth.items():
            held[name] += cells[name].low <= true <= cells[name].high
    coverage = {name: count / draws for name, count in held.items()}
    assert all(0.88 <= share <= 0.99 for share in coverage.values()), coverage
