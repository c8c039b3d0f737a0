"""Normal patches where lesions of other volumes lie: placed as theirs, mirrored by side, after their projection."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dbtssl.data.records import Box, Cohort, Label, SliceRef, Volume
from dbtssl.errors import DataError
from dbtssl.patches.matched_patches import MatchedPlaces
from dbtssl.patches.patch_rule import PatchRule, lesion_corners
from dbtssl.testing.toy_slices import toy_labelled
from dbtssl.training.finetuning.augmentation import LightAugment
from dbtssl.training.finetuning.balanced_batches import Sample, TrainPatches

ROWS, COLUMNS, SIZE = 100, 80, 24


class Breasts:
    """Slices of which only cohort and tissue are asked: tissue fills rows and columns of a box."""

    def __init__(self, volumes, tissue):
        self.cohort, self.bounds = Cohort(volumes), tissue

    def tissue(self, i):
        mask = np.zeros((ROWS, COLUMNS), dtype=bool)
        y0, x0, y1, x1 = self.bounds[i]
        mask[y0:y1, x0:x1] = True
        return mask


def volume(patient, view, label=Label.NORMAL, boxes=()):
    return Volume(patient, "s", view, 10, ROWS, COLUMNS, label, boxes)


def places_of(volumes, tissue, abnormal=None):
    none = [np.zeros(v.n_slices, dtype=bool) for v in volumes]
    return MatchedPlaces(Breasts(volumes, tissue), none if abnormal is None else abnormal)


def drawn(places, i, n=400):
    rng = np.random.default_rng(0)
    return [places.draw(i, SIZE, rng) for _ in range(n)]


def corners_of(places, i, n=400):
    return np.array([corner for _, corner in drawn(places, i, n)])


def test_a_place_is_a_share_of_the_breast_from_above_and_from_the_chest_wall():
    box = Box(
        5, 15.0, 40.0, 10.0, 8.0, Label.CANCER
    )  # its middle: 20 of 40 columns, 44 of 80 rows down
    volumes = [
        volume("a", "lcc", Label.CANCER, (box,)),
        volume("b", "lcc"),
        volume("c", "rcc"),
    ]
    places = places_of(volumes, [(0, 0, 80, 40), (20, 0, 100, 60), (0, 20, 80, 80)])
    expected = {
        1: replace(box, x=30.0 - 5, y=20 + 44.0 - 4),  # half of 60 columns, as far down
        2: replace(box, x=80 - 30.0 - 5, y=40.0),  # the chest wall is on the right
    }
    for i, moved in expected.items():
        allowed = lesion_corners(SIZE, moved, (ROWS, COLUMNS))
        found = corners_of(places, i)
        assert found[:, 0].min() == allowed.y0
        assert found[:, 0].max() == allowed.y1 - 1
        assert found[:, 1].min() == allowed.x0
        assert found[:, 1].max() == allowed.x1 - 1


def test_boxes_are_those_of_the_projection_and_of_any_where_it_has_none():
    above = Box(5, 30.0, 5.0, 4.0, 4.0, Label.CANCER)
    below = Box(5, 30.0, 90.0, 4.0, 4.0, Label.BENIGN)
    ill = [volume("a", "lcc", Label.CANCER, (above,)), volume("b", "lmlo", Label.BENIGN, (below,))]
    whole = (0, 0, ROWS, COLUMNS)
    places = places_of([*ill, volume("c", "rcc"), volume("d", "rmlo")], [whole] * 4)
    assert corners_of(places, 2)[:, 0].max() <= 5
    assert corners_of(places, 3)[:, 0].min() >= 94 - SIZE
    alone = places_of([ill[0], volume("d", "rmlo")], [whole] * 2)
    assert corners_of(alone, 1)[:, 0].max() <= 5


def test_a_box_of_the_volume_itself_is_taken_only_where_no_other_has_one():
    above = Box(5, 30.0, 5.0, 4.0, 4.0, Label.CANCER)
    below = Box(5, 30.0, 90.0, 4.0, 4.0, Label.BENIGN)
    whole = (0, 0, ROWS, COLUMNS)
    one = volume("a", "lcc", Label.CANCER, (above,))
    for view in ("rcc", "rmlo"):  # of the same projection, and of the other one
        places = places_of([one, volume("b", view, Label.BENIGN, (below,))], [whole] * 2)
        assert corners_of(places, 0)[:, 0].min() >= 94 - SIZE
        assert corners_of(places, 1)[:, 0].max() <= 5
    assert corners_of(places_of([one], [whole]), 0)[:, 0].max() <= 5


def test_a_slice_without_tissue_is_taken_whole():
    box = Box(5, 38.0, 48.0, 4.0, 4.0, Label.CANCER)
    volumes = [volume("a", "lcc", Label.CANCER, (box,)), volume("b", "lcc")]
    places = places_of(volumes, [(0, 0, ROWS, COLUMNS), (0, 0, 0, 0)])
    allowed = lesion_corners(SIZE, box, (ROWS, COLUMNS))
    found = corners_of(places, 1)
    assert (found.min(0) == (allowed.y0, allowed.x0)).all()
    assert (found.max(0) == (allowed.y1 - 1, allowed.x1 - 1)).all()


def test_the_slice_is_as_deep_in_the_stack_and_never_an_abnormal_one():
    box = Box(
        4, 38.0, 48.0, 4.0, 4.0, Label.CANCER
    )  # the middle of slice 4 of 10: 0.45 of the stack
    volumes = [
        volume("a", "lcc", Label.CANCER, (box,)),
        replace(volume("b", "lcc"), n_slices=30),
        volume("c", "lcc"),
    ]
    abnormal = [np.zeros(v.n_slices, dtype=bool) for v in volumes]
    abnormal[2][2:7] = True
    places = places_of(volumes, [(0, 0, ROWS, COLUMNS)] * 3, abnormal)
    assert {ref for ref, _ in drawn(places, 1, 20)} == {SliceRef(1, 13)}
    assert {ref for ref, _ in drawn(places, 2, 20)} <= {SliceRef(2, 1), SliceRef(2, 7)}


def test_without_any_box_it_is_refused():
    with pytest.raises(DataError, match="no training volume has a box"):
        places_of([volume("a", "lcc")], [(0, 0, ROWS, COLUMNS)])


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    return toy_labelled(tmp_path_factory.mktemp("matched"), patients=12)


def test_the_share_of_matched_patches_is_the_one_that_is_asked(labelled, monkeypatch):
    asked = []
    monkeypatch.setattr(
        MatchedPlaces, "draw", lambda _, i, *rest: asked.append(i) or (SliceRef(i, 0), (0, 0))
    )

    def count(matched, abnormal):
        del asked[:]
        patches = TrainPatches(
            labelled, PatchRule(16), seed=0, augmentation=LightAugment(), matched=matched
        )
        wanted = np.flatnonzero(patches.abnormal == abnormal)
        for k, position in enumerate(np.tile(wanted, 3)):
            patches[Sample(0, k, int(position))]
        return len(asked), 3 * len(wanted)

    found, n = count(0.7, abnormal=False)
    assert found == pytest.approx(0.7 * n, abs=4 * np.sqrt(0.21 * n))
    assert count(0.0, abnormal=False)[0] == 0
    assert count(1.0, abnormal=True)[0] == 0


def test_without_a_share_patches_are_those_of_before(labelled):
    usual = TrainPatches(labelled, PatchRule(16), seed=0, augmentation=LightAugment())
    none = TrainPatches(labelled, PatchRule(16), seed=0, augmentation=LightAugment(), matched=0.0)
    for position in range(5):
        sample = Sample(0, position, position)
        assert np.array_equal(usual[sample].pixels, none[sample].pixels)
