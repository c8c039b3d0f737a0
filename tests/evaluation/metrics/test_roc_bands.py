import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_auc_score, roc_curve

from dbtssl.evaluation.metrics.roc_bands import BINS, GRID, reliability, roc, roc_band
from dbtssl.evaluation.score_set import ScoreSet
from dbtssl.evaluation.statistics.clustered import patient_draws


def units(seed=0, n=300, ties=False):
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, 40, n)
    abnormal = (patients < 12) & (rng.random(n) < 0.6)
    scores = rng.normal(size=n) + abnormal
    if ties:
        scores = np.round(scores)
    return ScoreSet("slice", tuple(map(str, range(n))), patients, abnormal, scores)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_curve_is_scikit_learns(seed, ties):
    some = units(seed, ties=ties)
    found = roc(some)
    x, y, _ = roc_curve(some.abnormal, some.scores, drop_intermediate=False)
    np.testing.assert_allclose(
        np.interp(x, found.false_alarms, found.sensitivity) >= y - 1e-12, True
    )
    area = np.trapezoid(found.sensitivity, found.false_alarms)
    assert area == pytest.approx(roc_auc_score(some.abnormal, some.scores), abs=1e-12)
    assert len(found.false_alarms) <= len(x)
    vertices = set(zip(x, y, strict=True))
    assert all(v in vertices for v in zip(*found, strict=True))


def test_one_score_for_all_is_the_diagonal():
    some = units()
    flat = ScoreSet("slice", some.ids, some.patients, some.abnormal, np.zeros(300))
    found = roc(flat)
    assert found.false_alarms.tolist() == [0, 1]
    assert found.sensitivity.tolist() == [0, 1]


def test_the_band_is_that_of_patients_drawn_one_by_one():
    """Every draw is rebuilt by repeating the patients' units, and its curve taken from scikit-learn."""
    sets = [units(0, 120), units(0, 120)]
    sets[1] = ScoreSet("slice", sets[0].ids, sets[0].patients, sets[0].abnormal, -sets[0].scores)
    draws = 40
    band = roc_band(sets, 0.9, draws)
    _, codes = np.unique(sets[0].patients, return_inverse=True)
    weights = patient_draws(sets[0].abnormal, sets[0].patients, draws)
    curves = []
    for w in weights:
        index = np.repeat(np.arange(120), w[codes].astype(int))
        of_seeds = []
        for some in sets:
            x, y, _ = roc_curve(some.abnormal[index], some.scores[index], drop_intermediate=False)
            of_seeds.append(np.interp(GRID, x, y))
        curves.append(np.mean(of_seeds, axis=0))
    np.testing.assert_allclose(band.low, np.quantile(curves, 0.05, axis=0), atol=1e-12)
    np.testing.assert_allclose(band.high, np.quantile(curves, 0.95, axis=0), atol=1e-12)
    whole = [
        np.interp(GRID, *roc_curve(s.abnormal, s.scores, drop_intermediate=False)[:2]) for s in sets
    ]
    np.testing.assert_allclose(band.middle, np.mean(whole, axis=0), atol=1e-12)


def test_many_scores_are_drawn_at_few_cuts_without_moving_the_curve():
    some = units(1, 5000)
    band = roc_band([some], 0.95, 10)
    x, y, _ = roc_curve(some.abnormal, some.scores, drop_intermediate=False)
    assert np.abs(band.middle - np.interp(GRID, x, y)).max() < 0.02


def test_three_positive_patients_have_no_band():
    some = units()
    few = ScoreSet(
        "slice", some.ids, some.patients, some.abnormal & (some.patients < 3), some.scores
    )
    assert roc_band([few], 0.95, 10) is None


def test_reliability_is_scikit_learns_by_quantiles():
    some = units(3, 400)
    prevalence = 0.05
    found = reliability(some, prevalence, 0.95)
    p = expit(some.scores + logit(prevalence))
    observed, predicted = calibration_curve(some.abnormal, p, n_bins=BINS, strategy="quantile")
    np.testing.assert_allclose([b.predicted for b in found], predicted, atol=1e-12)
    np.testing.assert_allclose([b.observed for b in found], observed, atol=1e-12)
    assert all(b.low <= b.observed <= b.high for b in found)


def test_a_bin_of_one_patient_is_left_out():
    some = units(3, 400)
    alone = np.where(some.scores >= np.quantile(some.scores, 0.9), 99, some.patients)
    found = reliability(ScoreSet("slice", some.ids, alone, some.abnormal, some.scores), 0.1, 0.95)
    assert len(found) == BINS - 1
