import numpy as np
import pytest
from scipy.stats import beta, binomtest, norm
from sklearn.metrics import roc_auc_score

from dbtssl.evaluation.statistics.clustered import (
    clustered_covariance,
    logit_draws_interval,
    logit_t_interval,
    patient_draws,
    proportion_interval,
)

from ..conftest import delong_covariance


def clustered_case(seed, patients=30, positives=8, mixed=False):
    """Volumes of patients with an effect of the patient; ``mixed``: positive patients hold normals as well."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, size=patients)
    ids = np.repeat(np.arange(patients), sizes)
    abnormal = ids < positives
    if mixed:
        abnormal &= rng.random(len(ids)) < 0.6
        abnormal[np.flatnonzero(ids < positives)[:: int(sizes[:positives].max())]] = True
    scores = rng.normal(size=patients)[ids] + rng.normal(size=len(ids)) + 1.5 * abnormal
    return abnormal, scores, ids


def test_delong_of_the_four_point_example():
    auc, covariance = delong_covariance(
        np.array([0, 0, 1, 1], bool), [np.array([0.1, 0.4, 0.35, 0.8])]
    )
    assert auc[0] == 0.75
    assert covariance[0, 0] == pytest.approx(0.125, abs=1e-15)


def test_hanley_and_mcneil_1982():
    """CT ratings of 58 normal and 51 abnormal patients, Radiology 143:29; DeLong's standard error."""
    normal = np.repeat([1, 2, 3, 4, 5], [33, 6, 6, 11, 2])
    diseased = np.repeat([1, 2, 3, 4, 5], [3, 2, 2, 11, 33])
    abnormal = np.r_[np.zeros(58, bool), np.ones(51, bool)]
    auc, covariance = delong_covariance(abnormal, [np.r_[normal, diseased].astype(float)])
    error = np.sqrt(covariance[0, 0])
    assert auc[0] == pytest.approx(0.8931711, abs=5e-8)
    assert error == pytest.approx(0.0307244, abs=5e-8)
    low, high = auc[0] + norm.ppf([0.025, 0.975]) * error
    assert (low, high) == pytest.approx((0.8329523, 0.9533898), abs=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_one_unit_a_patient_is_delong(seed):
    rng = np.random.default_rng(seed)
    abnormal = np.arange(40) < 12
    scores = [np.round(rng.normal(size=40) + abnormal, 1) for _ in range(3)]
    auc, covariance = clustered_covariance(abnormal, scores, rng.permutation(40))
    expected_auc, expected = delong_covariance(abnormal, scores)
    np.testing.assert_array_equal(auc, expected_auc)
    np.testing.assert_allclose(covariance, expected, atol=1e-16)


def test_copies_within_a_patient_add_nothing():
    rng = np.random.default_rng(1)
    abnormal = np.arange(40) < 12
    scores = rng.normal(size=40) + abnormal
    once = clustered_covariance(abnormal, [scores], np.arange(40))[1]
    copied = clustered_covariance(
        np.repeat(abnormal, 3), [np.repeat(scores, 3)], np.repeat(np.arange(40), 3)
    )[1]
    np.testing.assert_allclose(copied, once, rtol=1e-12)
    naive = delong_covariance(np.repeat(abnormal, 3), [np.repeat(scores, 3)])[1]
    assert naive[0, 0] < once[0, 0] / 2


@pytest.mark.parametrize("mixed", [False, True])
def test_clustered_error_is_the_bootstraps(mixed):
    """The bootstrap of patients, here through scikit-learn's weighted AUC, agrees within a tenth."""
    abnormal, scores, ids = clustered_case(3, patients=120, positives=40, mixed=mixed)
    weights = patient_draws(abnormal, ids, draws=400)
    drawn = [roc_auc_score(abnormal, scores, sample_weight=w[ids]) for w in weights]
    error = np.sqrt(clustered_covariance(abnormal, [scores], ids)[1][0, 0])
    assert np.std(drawn) == pytest.approx(error, rel=0.1)


def test_logit_interval_in_closed_form():
    """At p = 1/2 with df so large that t is normal: logit limits are -+ 1.96 x 4 x se."""
    low, high = logit_t_interval(0.5, 0.01, df=10**9)
    assert low == pytest.approx(1 / (1 + np.exp(1.959964 * 4 * 0.1)), abs=1e-6)
    assert low + high == pytest.approx(1)


@pytest.mark.parametrize(("hits", "n"), [(3, 20), (0, 20), (20, 20), (33, 39)])
def test_one_unit_a_patient_is_wilson(hits, n):
    units = np.ones(n)
    outcome = (np.arange(n) < hits).astype(float)
    expected = binomtest(hits, n).proportion_ci(method="wilson")
    # The ratio estimator's n / (n - 1) is a design effect of its own, so it is taken out of the reference.
    got = proportion_interval(outcome, units, df=10**9)
    if hits in (0, n):
        assert got == pytest.approx((expected.low, expected.high), abs=1e-6)
    else:
        p, size, z2 = hits / n, n - 1, norm.ppf(0.975) ** 2
        middle = (p + z2 / (2 * size)) / (1 + z2 / size)
        half = np.sqrt(z2 * (p * (1 - p) / size + z2 / (4 * size**2))) / (1 + z2 / size)
        assert got == pytest.approx((middle - half, middle + half), abs=1e-6)
        assert got == pytest.approx((expected.low, expected.high), abs=0.01)


def test_wilson_of_33_of_39():
    """The audit's 70.3 to 92.8 % for AR 33/39, by scipy; ours is a little wider, for n / (n - 1) and t."""
    reference = binomtest(33, 39).proportion_ci(method="wilson")
    assert (round(100 * reference.low, 1), round(100 * reference.high, 1)) == (70.3, 92.8)
    low, high = proportion_interval((np.arange(39) < 33).astype(float), np.ones(39), df=38)
    assert reference.low - 0.02 < low < reference.low
    assert reference.high < high < reference.high + 0.02


def test_copies_within_a_patient_leave_the_proportions_interval():
    hits = (np.arange(25) < 18).astype(float)
    once = proportion_interval(hits, np.ones(25), df=24)
    assert proportion_interval(7 * hits, np.full(25, 7.0), df=24) == pytest.approx(once, rel=1e-12)
    none = proportion_interval(np.zeros(25), np.ones(25), df=24)
    assert proportion_interval(np.zeros(25), np.full(25, 7.0), df=24) == pytest.approx(
        none, rel=1e-12
    )


def test_units_that_spread_more_than_by_chance_do_not_narrow_the_interval():
    """Every patient has exactly half: the variance between patients is 0, the design effect stays 1."""
    spread = proportion_interval(np.ones(10), np.full(10, 2.0), df=10**9)
    assert spread == pytest.approx(
        tuple(binomtest(10, 20).proportion_ci(method="wilson")), abs=1e-6
    )


def test_patients_are_drawn_within_their_stratum():
    abnormal = np.array([1, 1, 0, 0, 0, 0, 0], bool)
    ids = np.array(
        [7, 7, 7, 3, 4, 4, 9]
    )  # patient 7, the only positive one, is third of 3, 4, 7, 9
    weights = patient_draws(abnormal, ids, draws=50)
    assert weights.shape == (50, 4)
    np.testing.assert_array_equal(weights[:, 2], 1)
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(axis=1), 3)
    assert len(np.unique(weights, axis=0)) > 5
    np.testing.assert_array_equal(weights, patient_draws(abnormal, ids, draws=50))


def test_interval_from_draws_of_a_beta_distribution():
    """Draws that are normal on the logit scale give back their own standard deviation, and the value lies inside."""
    rng = np.random.default_rng(0)
    centre = np.log(0.8 / 0.2)
    draws = 1 / (1 + np.exp(-(centre + 0.3 * rng.normal(size=20000))))
    low, high = logit_draws_interval(0.8, draws, patients=10**9, df=10**9)
    expected = 1 / (1 + np.exp(-(centre + np.array([-1, 1]) * 1.959964 * 0.3)))
    assert (low, high) == pytest.approx(tuple(expected), abs=2e-3)
    low, high = logit_draws_interval(1.0, beta(20, 1).rvs(500, random_state=1), patients=30, df=20)
    assert 0 < low < 1
    assert high == 1
