import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, precision_score

from dbtssl.evaluation.metrics.rates import COMBINED, METRICS, rate_draws, rate_values, rates
from dbtssl.evaluation.statistics.clustered import patient_draws


def case(seed, patients=30, positives=9):
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(patients), rng.integers(1, 5, size=patients))
    abnormal = (ids < positives) & (rng.random(len(ids)) < 0.7)
    abnormal[:2] = True, False
    return abnormal, np.round(rng.normal(size=len(ids)) + abnormal, 1), ids


@pytest.mark.parametrize("threshold", [-1.0, 0.3, 0.5, 1.2])
def test_rates_are_scikit_learns(units, threshold):
    abnormal, scores, ids = case(0)
    called = scores > threshold
    values = rate_values(units(abnormal, scores, ids), threshold, 0.95)
    assert set(values) == {metric.name for metric in METRICS}
    assert {values[metric.name].reason for metric in COMBINED} == {
        "its interval needs draws of patients"
    }
    assert values["ppv"].value == pytest.approx(precision_score(abnormal, called))
    assert values["balanced-accuracy"].value == pytest.approx(
        balanced_accuracy_score(abnormal, called)
    )
    assert values["recall-rate"].value == pytest.approx(called.mean())
    npv = precision_score(~abnormal, ~called)
    assert values["npv-gain"].value == pytest.approx(npv - (~abnormal).mean())


def test_rates_of_draws_are_those_of_the_copied_data(units):
    """Patients and thresholds drawn; every draw made by hand."""
    abnormal, scores, ids = case(1)
    weights = patient_draws(abnormal, ids, 15)
    thresholds = np.random.default_rng(0).choice([0.0, 0.3, 0.31, 1.0], size=15)
    found = rate_draws(units(abnormal, scores, ids), thresholds, weights)
    for i, (w, t) in enumerate(zip(weights, thresholds, strict=True)):
        copies = np.repeat(
            np.arange(len(ids)), w[np.unique(ids, return_inverse=True)[1]].astype(int)
        )
        values = rate_values(units(abnormal[copies], scores[copies], ids[copies]), t, 0.95)
        for name, value in values.items():
            assert found[name][i] == pytest.approx(value.value, abs=1e-12), name


def test_a_draw_without_a_threshold_has_no_rates(units):
    found = rate_draws(units([1, 0], [1.0, 0.0]), np.array([np.nan, 0.5]), np.ones((2, 2)))
    for name, draws in found.items():
        np.testing.assert_array_equal(np.isnan(draws), [True, False], err_msg=name)


def test_nothing_called_abnormal_has_no_ppv(units):
    abnormal, scores, ids = case(2)
    values = rate_values(units(abnormal, scores, ids), 99.0, 0.95)
    assert values["ppv"].value is None
    assert values["ppv"].reason == "there are no volumes called abnormal"
    assert values["npv-gain"].value == pytest.approx(0, abs=1e-15)
    assert values["balanced-accuracy"].value == 0.5
    values = rate_values(units(abnormal, scores, ids), -99.0, 0.95)
    assert values["npv"].reason == values["npv-gain"].reason == "there are no volumes called normal"
    assert values["npv-gain"].value is None


def test_the_uncertainty_of_the_threshold_widens_the_interval(units):
    abnormal, scores, ids = case(3, patients=80, positives=20)
    of = units(abnormal, scores, ids)
    weights = patient_draws(abnormal, ids)
    fixed = rate_values(of, 0.5, 0.95, rate_draws(of, np.full(2000, 0.5), weights))
    spread = np.random.default_rng(0).normal(0.5, 0.7, size=2000)
    nested = rate_values(of, 0.5, 0.95, rate_draws(of, spread, weights))
    for name in ("nr", "ar"):
        assert nested[name].low < fixed[name].low < fixed[name].value == nested[name].value
        assert nested[name].high > fixed[name].high
    # with a threshold that stands still, the bootstrap and Wilson's interval say nearly the same
    plain = rate_values(of, 0.5, 0.95)
    assert fixed["nr"].high - fixed["nr"].low < 1.15 * (plain["nr"].high - plain["nr"].low)


def test_counts_of_confusion_matrices_in_closed_form():
    found = rates(*(np.array([x]) for x in (8.0, 10.0, 90.0, 2.0)))
    assert {k: v[0] for k, v in found.items()} == pytest.approx(
        {
            "npv": 90 / 92,
            "ppv": 8 / 18,
            "nr": 0.9,
            "ar": 0.8,
            "recall-rate": 18 / 110,
            "balanced-accuracy": 0.85,
            "npv-gain": 90 / 92 - 100 / 110,
        }
    )
