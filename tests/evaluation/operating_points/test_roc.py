"""Every metric of a curve under patient weights against scikit-learn's sample weights and against copied data."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from dbtssl.evaluation.catalogue import METRICS
from dbtssl.evaluation.metrics.curve_draws import curve_draws
from dbtssl.evaluation.operating_points.points import sensitivity_at as sensitivity_point
from dbtssl.evaluation.operating_points.points import specificity_at as specificity_point
from dbtssl.evaluation.operating_points.roc import (
    area,
    area_at_sensitivity,
    area_at_specificity,
    average_precision,
    curve_table,
    mean_corrected,
    sensitivity_at,
    specificity_at,
)
from dbtssl.evaluation.statistics.clustered import patient_draws

CURVE_METRICS = tuple(m.name for m in METRICS if m.draws)


def case(seed, levels=None, n=70, patients=18):
    """Units of patients who may hold both classes; ``levels`` makes ties across the classes."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(patients, size=n) * 3 + 5  # ids with gaps
    abnormal = rng.random(n) < 0.3
    abnormal[:2] = True, False
    scores = rng.normal(size=n) + abnormal
    return abnormal, scores if levels is None else np.round(scores * levels) / levels, ids


def drawn(seed, levels, draws=12):
    abnormal, scores, ids = case(seed, levels)
    weights = patient_draws(abnormal, ids, draws)
    (curves,) = curve_table(abnormal, scores, ids).curves(weights)
    of_unit = weights[:, np.unique(ids, return_inverse=True)[1]]
    return abnormal, scores, of_unit, curves


@pytest.mark.parametrize("levels", [None, 2, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_areas_are_scikit_learns(seed, levels):
    abnormal, scores, weights, curves = drawn(seed, levels)
    found = {
        "auc": area(curves),
        "ap": average_precision(curves),
        "spec": mean_corrected(area_at_specificity(curves, 0.9), 0.1),
        "sens": mean_corrected(area_at_sensitivity(curves, 0.8), 0.2),
    }
    for i, w in enumerate(weights):
        expected = {
            "auc": roc_auc_score(abnormal, scores, sample_weight=w),
            "ap": average_precision_score(abnormal, scores, sample_weight=w),
            "spec": roc_auc_score(abnormal, scores, sample_weight=w, max_fpr=0.1),
            "sens": roc_auc_score(~abnormal, -scores, sample_weight=w, max_fpr=1 - 0.8),
        }
        assert {k: v[i] for k, v in found.items()} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("levels", [None, 1])
def test_the_area_is_the_u_statistic(levels):
    """By two loops over all pairs."""
    abnormal, scores, weights, curves = drawn(3, levels, draws=2)
    for w, value in zip(weights, area(curves), strict=True):
        hits = sum(
            w[i] * w[j] * ((scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]))
            for i in np.flatnonzero(abnormal)
            for j in np.flatnonzero(~abnormal)
        )
        assert value == pytest.approx(hits / (w[abnormal].sum() * w[~abnormal].sum()), abs=1e-13)


@pytest.mark.parametrize("levels", [None, 1])
def test_average_precision_by_a_loop_over_thresholds(levels):
    abnormal, scores, weights, curves = drawn(4, levels, draws=3)
    for w, value in zip(weights, average_precision(curves), strict=True):
        expected, before = 0.0, 0.0
        for t in sorted(set(scores), reverse=True):
            called = scores >= t
            recall = w[called & abnormal].sum() / w[abnormal].sum()
            if w[called].sum():
                expected += (recall - before) * w[called & abnormal].sum() / w[called].sum()
            before = recall
        assert value == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("rule", ["at-least", "interpolated", "nearest"])
@pytest.mark.parametrize("levels", [None, 1])
@pytest.mark.parametrize("target", [0.87, 0.5])
def test_points_of_a_draw_are_those_of_the_copied_data(rule, levels, target):
    """Each draw is made by hand, every unit repeated as often as its patient."""
    abnormal, scores, weights, curves = drawn(7, levels)
    for i, w in enumerate(weights):
        copies = np.repeat(np.arange(len(scores)), w.astype(int))
        data = abnormal[copies], scores[copies]
        expected = specificity_point(*data, target, rule).specificity
        assert specificity_at(curves, target, rule)[i] == pytest.approx(expected, abs=1e-12)
        if rule != "nearest":
            expected = sensitivity_point(*data, target, rule).sensitivity
            assert sensitivity_at(curves, target, rule)[i] == pytest.approx(expected, abs=1e-12)


def test_the_nearest_specificity_is_not_on_the_curve():
    with pytest.raises(ValueError, match="corners do not hold"):
        sensitivity_at(drawn(0, None)[-1], 0.9, "nearest")


@pytest.mark.parametrize("levels", [None, 1])
def test_sensitivity_on_scikit_learns_vertices(levels):
    abnormal, scores, weights, curves = drawn(9, levels)
    for i, w in enumerate(weights):
        fpr, tpr, _ = roc_curve(abnormal, scores, sample_weight=w, drop_intermediate=False)
        expected = tpr[fpr <= 0.2 + 1e-9].max()
        assert sensitivity_at(curves, 0.8)[i] == pytest.approx(expected)


def test_mcclish_in_closed_form():
    """Chance is 1/2 and perfect is 1, whatever the width (McClish 1989)."""
    for width in (0.05, 0.1, 0.2, 0.9):
        assert mean_corrected(np.array([width**2 / 2, width]), width) == pytest.approx([0.5, 1.0])


def test_partial_areas_of_both_sides_in_closed_form():
    """One abnormal above all but one of four normals: the curve rises at a false alarm of 1/4."""
    abnormal = np.array([1, 0, 0, 0, 0], bool)
    scores = np.array([4.0, 5.0, 3.0, 2.0, 1.0])
    (curves,) = curve_table(abnormal, scores, np.arange(5)).curves(np.ones((1, 5)))
    assert area(curves)[0] == pytest.approx(0.75)
    assert area_at_specificity(curves, 0.9)[0] == 0
    assert area_at_specificity(curves, 0.5)[0] == pytest.approx(0.25)
    assert area_at_sensitivity(curves, 0.8)[0] == pytest.approx(0.2 * 0.75)


def test_blocks_change_nothing(units, monkeypatch):
    abnormal, scores, ids = case(5, 2)
    weights = patient_draws(abnormal, ids, 40)
    whole = curve_draws(units(abnormal, scores, ids), weights, "at-least", METRICS)
    monkeypatch.setattr("dbtssl.evaluation.operating_points.roc.BLOCK_BYTES", 2000)
    parts = curve_draws(units(abnormal, scores, ids), weights, "at-least", METRICS)
    assert tuple(whole) == CURVE_METRICS
    for name, draws in whole.items():
        assert draws.shape == (40,)
        np.testing.assert_allclose(draws, parts[name], atol=1e-15, rtol=1e-14)


def test_a_draw_without_normals_has_no_shares(units):
    weights = np.array([[1.0, 1.0], [2.0, 0.0]])
    found = curve_draws(units([1, 1, 0], [2.0, 3.0, 1.0], [0, 1, 1]), weights, "at-least", METRICS)
    for name in CURVE_METRICS:
        np.testing.assert_array_equal(np.isnan(found[name]), [False, True], err_msg=name)


def test_copies_of_a_patient_weigh_like_a_weight(units):
    """A patient of weight 2 and the same patient twice under two ids."""
    abnormal, scores, ids = case(6, 1)
    twice = np.flatnonzero(ids == ids[0])
    weights = np.where(np.unique(ids) == ids[0], 2.0, 1.0)[None]
    copied = (
        np.r_[abnormal, abnormal[twice]],
        np.r_[scores, scores[twice]],
        np.r_[ids, np.full(len(twice), 999)],
    )
    once = np.ones((1, len(np.unique(copied[2]))))
    mine = curve_draws(units(abnormal, scores, ids), weights, "at-least", METRICS)
    theirs = curve_draws(units(*copied), once, "at-least", METRICS)
    for name in CURVE_METRICS:
        assert mine[name] == pytest.approx(theirs[name], abs=1e-12), name
