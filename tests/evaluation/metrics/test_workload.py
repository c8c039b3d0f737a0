import numpy as np
import pytest

from dbtssl.evaluation.metrics.workload import left_out, workload, workload_table
from dbtssl.evaluation.statistics.clustered import patient_draws


def by_loop(abnormal, scores, patients, weights, missed):
    """The largest share of normals not above a threshold, over all thresholds that miss few enough patients."""
    best = 0.0
    for t in [-np.inf, *scores, *(np.nextafter(s, -np.inf) for s in scores)]:
        lost = sum(
            weights[p]
            for p in np.unique(patients[abnormal])
            if (scores[abnormal & (patients == p)] <= t).all()
        )
        if lost <= missed:
            normal = weights[patients[~abnormal]]
            best = max(best, normal[scores[~abnormal] <= t].sum() / normal.sum())
    return best


def case(seed, levels=None):
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(16), 4)
    abnormal = (patients < 6) & (rng.random(64) < 0.6)
    abnormal[:2] = True, False
    scores = rng.normal(size=64) + abnormal
    return abnormal, scores if levels is None else np.round(scores * levels) / levels, patients


@pytest.mark.parametrize("missed", [0, 1, 2])
@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("seed", range(4))
def test_the_share_is_the_best_of_all_thresholds(seed, levels, missed):
    abnormal, scores, patients = case(seed, levels)
    found = workload(abnormal, scores, patients, missed)
    assert found.share == pytest.approx(by_loop(abnormal, scores, patients, np.ones(16), missed))
    kept_out = scores <= found.threshold
    assert kept_out[~abnormal].mean() == pytest.approx(found.share)
    lost = [kept_out[abnormal & (patients == p)].all() for p in np.unique(patients[abnormal])]
    assert sum(lost) <= missed


@pytest.mark.parametrize("missed", [0, 1, 2])
def test_shares_of_draws(missed):
    abnormal, scores, patients = case(5, 2)
    weights = patient_draws(abnormal, patients, 12)
    (curves,) = workload_table(abnormal, scores, patients).curves(weights)
    for w, share in zip(weights, left_out(curves, missed), strict=True):
        assert share == pytest.approx(by_loop(abnormal, scores, patients, w, missed))


def test_in_closed_form():
    """Patient 0 is found by her second volume; patient 1 lies below three of four normals."""
    abnormal = np.array([1, 1, 1, 0, 0, 0, 0], bool)
    scores = np.array([0.0, 9.0, 1.5, 1.0, 2.0, 3.0, 4.0])
    patients = np.array([0, 0, 1, 2, 3, 4, 5])
    assert workload(abnormal, scores, patients, 0) == (0.25, 1.25)
    assert workload(abnormal, scores, patients, 1) == (1.0, 6.5)
    with pytest.raises(ValueError, match="2 missed of 2 positive patients"):
        workload(abnormal, scores, patients, 2)
