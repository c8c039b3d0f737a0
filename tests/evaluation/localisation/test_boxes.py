import numpy as np
import pytest
from scipy.special import expit

from dbtssl.data.records import Box, Label
from dbtssl.evaluation.localisation.boxes import FULL_ROWS, boxes_of, run_means
from dbtssl.evaluation.predictions.prediction_table import PredictionInfo, Predictions


def predictions(logits, places, rows=240, columns=200, size=40, boxes=()):
    """One volume: ``logits`` is (slices, patches), ``places`` (slices, patches, 2)."""
    n, count = np.shape(logits)
    return Predictions(
        volumes=("v",),
        patients=("p",),
        studies=("s",),
        views=("lcc",),
        density=("",),
        labels=np.array([3]),
        n_slices=np.array([n]),
        shape=np.array([[rows, columns]]),
        boxes=(tuple(boxes),),
        volume=np.zeros(n, dtype=np.int64),
        z=np.arange(n),
        abnormal=np.zeros(n, dtype=bool),
        logits=np.ravel(logits).astype(float),
        offsets=np.arange(n + 1) * count,
        places=np.reshape(places, (-1, 2)),
        made=PredictionInfo("test", "random", size),
    )


def lattice(n):
    corners = [(y, x) for y in range(0, 201, 20) for x in range(0, 161, 20)]
    return np.tile(corners, (n, 1, 1))


def lesion(n=30, z=12, y=110, x=90):
    """Patches that hold the pixel (y, x) are high near slice z."""
    places = lattice(n)
    inside = ((places <= (y, x)) & (places + 40 > (y, x))).all(axis=2)
    near = np.abs(np.arange(n) - z) <= 4
    return predictions(np.where(inside & near[:, None], 3.0, -4.0), places)


def test_the_map_is_the_mean_probability_of_the_patches_over_a_cell():
    rng = np.random.default_rng(0)
    places = np.stack([rng.integers(0, 201, (14, 6)), rng.integers(0, 161, (14, 6))], axis=2)
    logits = rng.normal(size=(14, 6))
    heat = run_means(predictions(logits, places), 0, 40, 5)
    assert heat.shape == (14, 48, 40)
    p = expit(logits)
    for k, i, j in rng.integers(0, (14, 48, 40), (300, 3)):
        y, x = 5 * i + 2.5, 5 * j + 2.5
        run = slice(max(0, k - 4), k + 5)
        over = (
            (places[run, :, 0] <= y)
            & (y < places[run, :, 0] + 40)
            & (places[run, :, 1] <= x)
            & (x < places[run, :, 1] + 40)
        )
        expected = p[run][over].mean() if over.any() else -1.0
        assert heat[k, i, j] == pytest.approx(expected, abs=1e-12)


def test_the_first_box_lies_on_the_lesion_at_full_resolution():
    scale = FULL_ROWS / 240
    first = boxes_of(lesion(), 0)[0]
    assert first.width == first.height == pytest.approx(20 * scale)
    assert first.y + first.height / 2 == pytest.approx(110 * scale, abs=5 * scale)
    assert first.x + first.width / 2 == pytest.approx(90 * scale, abs=5 * scale)
    assert first.z <= 12 < first.z + first.depth
    assert first.depth == 9
    assert first.score == pytest.approx(expit(3.0))


def test_boxes_fall_in_score_and_stay_apart():
    found = boxes_of(lesion(), 0)
    assert 2 <= len(found) <= 10
    scores = [d.score for d in found]
    assert scores == sorted(scores, reverse=True)
    scale = FULL_ROWS / 240
    for i, a in enumerate(found):
        for b in found[:i]:
            apart = max(abs(a.x - b.x), abs(a.y - b.y)) >= 20 * scale - 5 * scale
            assert apart or abs(a.z + a.depth / 2 - b.z - b.depth / 2) > 30 / 4 - 4


def test_a_volume_of_one_slice_and_a_slice_smaller_than_the_patch():
    one = predictions([[2.0]], [[(0, 0)]], rows=30, columns=20)
    found = boxes_of(one, 0)
    assert (found[0].z, found[0].depth) == (0, 1)
    assert found[0].score == pytest.approx(expit(2.0))


def test_saturated_logits():
    p = predictions([[1000.0, -1000.0]] * 3, [[(0, 0), (100, 100)]] * 3)
    assert boxes_of(p, 0)[0].score == 1.0


def test_a_box_in_the_records_is_found(monkeypatch):
    """From patches to the official metric: the first box hits what the records hold."""
    from dbtssl.evaluation.localisation.pointing import looked
    from dbtssl.evaluation.protocol import STRICT

    p = lesion()
    boxed = predictions(
        p.logits.reshape(30, -1),
        p.places.reshape(30, -1, 2),
        boxes=[Box(12, 85.0, 105.0, 10.0, 10.0, Label.CANCER)],
    )
    of_slices = np.where(np.abs(np.arange(30) - 12) <= 4, 1.0, -1.0)
    found = looked(boxed, of_slices, STRICT)
    assert found.slice_hit.value == 1
    assert found.patch_hit.value == 1
    assert found.detection["mean_sensitivity_positive"].value == 1
    assert found.patch_chance == pytest.approx(4 / 99)
    assert found.slice_chance == pytest.approx(15 / 30)


def test_logits_far_below_still_give_their_boxes():
    """Sums of tiny probabilities round below 0."""
    rng = np.random.default_rng(0)
    places = np.stack([rng.integers(0, 201, (12, 8)), rng.integers(0, 161, (12, 8))], axis=2)
    found = boxes_of(predictions(rng.normal(size=(12, 8)) * 300 - 600, places), 0)
    assert len(found) >= 5
    assert all(0 <= d.score <= 1 for d in found)


def test_equals_along_the_stack_give_their_middle():
    """One bright patch lies in nine runs of slices; which of them sums to the last bit more is no answer."""
    places = lattice(30)
    for z in (8, 11, 20):
        logits = np.full(places.shape[:2], -40.0)
        logits[z, 30] = 1.3
        box = boxes_of(predictions(logits, places), 0)[0]
        assert (box.z, box.depth) == (z - 4, 9)


def test_equals_far_apart_give_the_lowest_slice_first():
    places = lattice(40)
    logits = np.full(places.shape[:2], -40.0)
    logits[[30, 8], [30, 57]] = 0.3
    found = boxes_of(predictions(logits, places), 0)
    highest = [d.z for d in found if d.score == found[0].score]
    assert highest == sorted(highest)
    assert set(highest) == {4, 26}
