import numpy as np
import pytest
import torch
from scipy import stats

from dbtssl.data.records import Box, Label, Rect, Volume, Window
from dbtssl.phantom.cohort.phantom_cohort import plan
from dbtssl.phantom.imaging.render import render
from dbtssl.phantom.model.phantom_config import PhantomConfig


def test_the_variance_is_the_trace_of_numpys_covariance(mechanism):
    found = np.random.default_rng(0).normal(size=(40, 5))
    assert mechanism.total_variance(found) == pytest.approx(np.trace(np.cov(found.T)))


def test_a_move_that_is_the_same_everywhere_is_consistent(mechanism):
    well = np.random.default_rng(0).normal(size=(50, 4))
    step = np.array([3.0, 0, 4.0, 0])
    assert mechanism.move(well + step, well, 10.0) == pytest.approx((2.5, 1.0))  # 25 / 10
    signs = np.where(np.arange(50) % 2, 1, -1)[:, None]
    assert mechanism.move(well + signs * step, well, 10.0) == pytest.approx((2.5, 0.0))
    nothing = mechanism.move(well, well, 10.0)
    assert nothing.share == 0
    assert np.isnan(nothing.consistency)


def test_random_moves_have_the_consistency_of_their_number(mechanism):
    """E |mean|^2 = E |move|^2 / n for independent moves without a common direction."""
    rng = np.random.default_rng(0)
    found = [
        mechanism.move(rng.normal(size=(20, 30)), np.zeros((20, 30)), 1.0).consistency
        for _ in range(200)
    ]
    assert np.mean(found) == pytest.approx(1 / 20, rel=0.05)


def test_identity_is_that_of_scipys_analysis_of_variance(mechanism):
    rng = np.random.default_rng(0)
    groups = rng.normal(size=(30, 1)) + 0.7 * rng.normal(size=(30, 2))
    breast = np.repeat(np.arange(30), 2)
    between = 2 * groups.mean(axis=1).var(ddof=1)
    within = between / stats.f_oneway(*groups).statistic
    expected = 1 - within / groups.var(ddof=1)
    assert mechanism.identity(groups.reshape(-1, 1), breast) == pytest.approx(expected)
    twice = np.tile(groups.reshape(-1, 1), (1, 3))
    assert mechanism.identity(twice, breast) == pytest.approx(expected)


def test_a_breast_with_one_view_counts_for_the_variance_alone(mechanism):
    values = np.array([[0.0], [2.0], [10.0]])
    # one pair: variance 2 within; in all var(0, 2, 10) = 28
    assert mechanism.identity(values, np.array([7, 7, 8])) == pytest.approx(1 - 2 / 28)
    assert np.isnan(mechanism.identity(values, np.array([1, 2, 3])))


def test_a_collapsed_encoder_has_no_numbers(mechanism):
    alike = np.ones((4, 3))
    assert np.isnan(mechanism.identity(alike, np.array([0, 0, 1, 1])))
    assert mechanism.move(alike, alike, 0.0).share == 0
    assert np.isnan(mechanism.move(alike + 1, alike, 0.0).share)


def test_kinds_are_measured_against_the_same_variance(mechanism):
    well = np.random.default_rng(0).normal(size=(6, 2))
    gap = np.array([[1.0, 0]] * 4 + [[2.0, 0]] * 2)
    patches = np.zeros((6, 1, 1), np.float32)
    kind = np.array(["lobulated"] * 4 + ["spiculated"] * 2)
    twins = mechanism.Twins(patches, patches, np.repeat(np.arange(3), 2), kind)
    found = mechanism.measured(well + gap, well, twins)
    variance = np.trace(np.cov(well.T))
    assert found["share lobulated"] == pytest.approx(1 / variance)
    assert found["share spiculated"] == pytest.approx(4 / variance)
    assert found["share"] == pytest.approx((4 * 1 + 2 * 4) / 6 / variance)


def test_the_rank_correlation_is_the_published_one(mechanism):
    """Intelligence and hours of television, the example of Wikipedia's article on Spearman's rho: -29 / 165."""
    iq = [106, 100, 86, 101, 99, 103, 97, 113, 112, 110]
    hours = [7, 27, 2, 50, 28, 29, 20, 12, 6, 17]
    assert mechanism.rank_correlation(iq, hours) == pytest.approx(-29 / 165)
    assert mechanism.rank_correlation([*iq, 5], [*hours, None]) == pytest.approx(-29 / 165)
    assert mechanism.rank_correlation(iq[:3], hours[:3]) is None
    assert mechanism.rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]) is None


def test_seeds_are_a_mean_and_a_range(mechanism):
    assert mechanism.over_seeds([1.0, None, float("nan"), 2.0]) == {
        "mean": 1.5,
        "low": 1,
        "high": 2,
    }
    assert mechanism.shown(mechanism.over_seeds([])) == "-"
    assert mechanism.shown(mechanism.over_seeds([0.25])) == "0.250"
    assert mechanism.shown(mechanism.over_seeds([0.25, 0.75])) == "0.500 (0.250 to 0.750)"


def test_features_are_those_of_the_encoder_in_the_order_of_the_patches(mechanism):
    patches = np.random.default_rng(0).random((130, 3, 3)).astype(np.float32)
    encoder = torch.nn.Flatten()
    assert np.allclose(mechanism.features(encoder, patches), patches.reshape(130, 9))


def test_a_patch_is_the_windowed_slice_round_the_box(mechanism):
    pixels = np.arange(2 * 10 * 8, dtype=np.uint16).reshape(2, 10, 8)
    volume = Volume("p", "s", "lcc", 2, 10, 8, Label.CANCER, window=Window(0, 200))
    rect = mechanism.patch_rect(Box(1, 1, 1, 2, 2, Label.CANCER), 6)
    assert rect == Rect(-1, -1, 5, 5)
    found = mechanism.patch(pixels, volume, 1, rect)
    assert found[1:, 1:] == pytest.approx(pixels[1, :5, :5] / 200)
    assert not found[0].any()
    assert not found[:, 0].any()


def test_without_its_lesion_a_slice_is_the_same_elsewhere():
    config = PhantomConfig(patients=8, rows=96, seed=2, missing_view=0)
    volume = next(v for v in plan(config) if v.boxes)
    (ill, _), (well, _) = render(config, volume), render(config, volume.without_lesion())
    box = volume.boxes[0]
    y, x = np.mgrid[: volume.rows, : volume.columns]
    away = np.hypot(y - box.y - box.height / 2, x - box.x - box.width / 2)
    moved = np.abs(ill[box.z].astype(int) - well[box.z])
    half = max(box.width, box.height) / 2
    assert moved[away < half].mean() > 3
    assert moved[away > 4 * half + 8].mean() < 0.05
