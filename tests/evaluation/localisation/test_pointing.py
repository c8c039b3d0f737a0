from dataclasses import replace

import numpy as np
import pytest

from dbtssl.data.records import Box, Label
from dbtssl.evaluation.localisation.pointing import looked
from dbtssl.evaluation.predictions.prediction_table import PredictionInfo, parse_predictions
from dbtssl.evaluation.protocol import AS_PUBLISHED, STRICT


def boxed(make_table, **options):
    """Every abnormal volume has a box in the middle of its abnormal slices, at (100, 100)."""
    p = parse_predictions(make_table(**options))
    boxes = []
    for v in range(len(p.volumes)):
        own = p.z[p.volume == v][p.abnormal[p.volume == v]]
        found = (
            [Box(int(np.median(own)), 95.0, 95.0, 10.0, 10.0, Label(p.labels[v]))]
            if len(own)
            else []
        )
        boxes.append(tuple(found))
    return replace(p, boxes=tuple(boxes))


def test_slice_hits_by_hand(make_table):
    p = boxed(make_table, patients=12, positives=6, seed=2)
    rng = np.random.default_rng(0)
    scores = rng.normal(size=len(p.z))
    expected, chance = [], []
    for v, boxes in enumerate(p.boxes):
        if not boxes:
            continue
        own = np.flatnonzero(p.volume == v)
        near = [abs(int(p.z[i]) - boxes[0].z) <= p.n_slices[v] / 4 for i in own]
        expected.append(near[int(np.argmax(scores[own]))])
        chance.append(np.mean(near))
    found = looked(p, scores, STRICT)
    assert found.n_volumes == len(expected) == 12
    assert found.slice_hit.value == pytest.approx(np.mean(expected))
    assert found.slice_hit.low < found.slice_hit.value < found.slice_hit.high
    assert found.slice_chance == pytest.approx(np.mean(chance))


def test_without_places_patches_are_left_out_with_a_reason(make_table):
    p = boxed(make_table, patients=8, positives=4)
    found = looked(p, np.zeros(len(p.z)), STRICT)
    reason = "the predictions do not say where the patches lie (y, x, rows, columns, patch_size)"
    assert found.patch_hit.reason == found.detection["mean_sensitivity_positive"].reason == reason
    assert found.patch_chance is None
    assert found.n_slices == 0


def test_oracle_patches_say_nothing_of_places(make_table):
    p = boxed(make_table, patients=8, positives=4)
    for made, protocol in (
        (PredictionInfo(inference="oracle"), STRICT),
        (PredictionInfo(), AS_PUBLISHED),
    ):
        found = looked(replace(p, made=made), np.zeros(len(p.z)), protocol)
        assert found.patch_hit.reason == "the patches were placed over the lesion"


def test_few_patients_have_no_interval(make_table):
    p = boxed(make_table, patients=6, positives=2)
    found = looked(p, np.zeros(len(p.z)), STRICT)
    assert found.slice_hit.reason == "interval needs 4 positive patients, has 2"


def test_no_box_no_answer(make_table):
    p = parse_predictions(make_table(patients=4, positives=2))
    assert looked(p, np.zeros(len(p.z)), STRICT) is None


def test_a_constant_score_is_no_better_than_chance(make_table):
    p = boxed(make_table, patients=12, positives=6)
    found = looked(p, np.zeros(len(p.z)), STRICT)
    assert found.slice_hit.value == pytest.approx(found.slice_chance)
