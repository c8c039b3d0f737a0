import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from dbtssl.evaluation.metrics.calibration import (
    calibration_intercept,
    calibration_slope,
    equal_mass_error,
    log_losses,
    squared_errors,
    undo_resampling,
)


def case(seed, n=400, prevalence=0.2, slope=1.0, shift=0.0):
    """Logits and outcomes that are drawn from ``slope * logit + shift``."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(logit(prevalence), 1.5, size=n)
    return rng.random(n) < expit(slope * logits + shift), logits


@pytest.mark.parametrize("seed", range(3))
def test_losses_are_scikit_learns(seed):
    abnormal, logits = case(seed)
    assert squared_errors(abnormal, logits).mean() == pytest.approx(
        brier_score_loss(abnormal, expit(logits))
    )
    assert log_losses(abnormal, logits).mean() == pytest.approx(log_loss(abnormal, expit(logits)))


def test_sure_mistakes_are_finite():
    abnormal, logits = np.array([True, False]), np.array([-1000.0, 800.0])
    assert log_losses(abnormal, logits) == pytest.approx([1000, 800])
    assert squared_errors(abnormal, logits) == pytest.approx([1, 1])


@pytest.mark.parametrize("seed", range(3))
def test_the_slope_is_scikit_learns(seed):
    abnormal, logits = case(seed, slope=0.6, shift=0.4)
    fit = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logits[:, None], abnormal)
    found = calibration_slope(abnormal, logits, np.arange(400))
    assert found.value == pytest.approx(fit.coef_[0, 0], rel=1e-6)
    p = fit.predict_proba(logits[:, None])[:, 1]
    design = np.stack([np.ones(400), logits], axis=1)
    bread = np.linalg.inv((design * (p * (1 - p))[:, None]).T @ design)
    meat = (
        (design * ((abnormal - p) ** 2)[:, None]).T @ design * 400 / 399
    )  # White's, one a patient
    assert found.error == pytest.approx(np.sqrt((bread @ meat @ bread)[1, 1]), rel=1e-5)


def test_the_intercept_makes_the_mean_probability_the_prevalence():
    abnormal, logits = case(4, shift=-1.0)
    found = calibration_intercept(abnormal, logits, np.arange(400))
    assert expit(logits + found.value).mean() == pytest.approx(abnormal.mean(), abs=1e-12)
    assert found.value < -0.5


def test_the_intercept_of_a_constant_in_closed_form():
    """Logit of the prevalence less the constant."""
    abnormal = np.arange(50) < 10
    found = calibration_intercept(abnormal, np.full(50, 1.5), np.arange(50))
    assert found.value == pytest.approx(logit(0.2) - 1.5)
    assert found.error == pytest.approx(np.sqrt(50 / 49 / (50 * 0.2 * 0.8)))


def test_copies_within_a_patient_add_nothing():
    abnormal, logits = case(5)
    patients = np.arange(400)
    for estimate in (calibration_slope, calibration_intercept):
        once = estimate(abnormal, logits, patients)
        copied = estimate(np.repeat(abnormal, 3), np.repeat(logits, 3), np.repeat(patients, 3))
        assert copied.value == pytest.approx(once.value, rel=1e-8)
        assert copied.error == pytest.approx(once.error, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e6, 1e200])
def test_the_slope_of_scaled_logits(scale):
    abnormal, logits = case(6)
    once = calibration_slope(abnormal, logits, np.arange(400))
    scaled = calibration_slope(abnormal, scale * logits, np.arange(400))
    assert scaled.value * scale == pytest.approx(once.value, rel=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("touching", [False, True])
def test_separated_classes_have_no_slope(sign, touching):
    """Also where the highest normal ties with the lowest abnormal: the likelihood still has no maximum."""
    abnormal = np.array([0, 0, 0, 1, 1], bool)
    logits = sign * np.array([1.0, 2, 3, 3 if touching else 4, 5])
    found = calibration_slope(abnormal, logits, np.arange(5))
    assert (found.value, found.error) == (None, None)
    assert "separate the classes completely" in found.reason


def test_scores_that_hardly_differ_have_no_slope():
    abnormal, logits = case(6)
    found = calibration_slope(abnormal, np.where(logits > logits.mean(), 5e-324, 0), np.arange(400))
    assert found == (None, None, "the scores differ by too little")


def test_equal_scores_have_no_slope():
    found = calibration_slope(np.array([True, False]), np.zeros(2), np.arange(2))
    assert found == (None, None, "all scores are equal")


def test_undoing_the_resampling_in_closed_form():
    """Bayes: a probability of 1/2 at 1:1 is the prevalence."""
    assert expit(undo_resampling(np.array([0.0]), 0.01)) == pytest.approx([0.01])
    assert undo_resampling(np.array([2.0]), 0.3, trained_at=0.3) == pytest.approx([2.0])


def test_the_table_of_predictors_at_one_percent():
    """'Always the prevalence' has the best calibration error and no skill; resampling ruins both until undone."""
    rng = np.random.default_rng(0)
    n, prevalence = 200_000, 0.0103
    abnormal = rng.random(n) < prevalence
    ratio = 2 * (rng.normal(size=n) + 2 * abnormal) - 2  # log of the likelihood ratio, AUC 0.921

    def skill(logits):
        share = abnormal.mean()
        return 1 - squared_errors(abnormal, logits).mean() / (share * (1 - share))

    always = np.full(n, logit(prevalence))
    corrected = undo_resampling(ratio, prevalence)
    assert equal_mass_error(abnormal, always) < 5e-4
    assert abs(skill(always)) < 1e-3
    assert equal_mass_error(abnormal, ratio) > 0.1
    assert skill(ratio) < -5
    assert equal_mass_error(abnormal, corrected) < 2e-3
    assert skill(corrected) > 0.1
    assert calibration_slope(abnormal, corrected, np.arange(n)).value == pytest.approx(1, abs=0.05)
    assert calibration_intercept(abnormal, corrected, np.arange(n)).value == pytest.approx(
        0, abs=0.05
    )


def test_the_equal_mass_error_by_a_loop():
    """15 bins of 20 units each, no ties."""
    abnormal, logits = case(8, n=300)
    order, p = np.argsort(logits), expit(logits)
    expected = sum(
        len(part) / 300 * abs(p[part].mean() - abnormal[part].mean())
        for part in np.array_split(order, 15)
    )
    assert equal_mass_error(abnormal, logits) == pytest.approx(expected)


def test_ties_stay_in_one_bin_whatever_their_order():
    rng = np.random.default_rng(0)
    abnormal, logits = rng.random(301) < 0.3, np.round(rng.normal(size=301))
    order = rng.permutation(301)
    value = equal_mass_error(abnormal, logits)
    assert equal_mass_error(abnormal[order], logits[order]) == pytest.approx(value, abs=1e-15)
    assert equal_mass_error(abnormal, np.zeros(301)) == pytest.approx(abs(0.5 - abnormal.mean()))
