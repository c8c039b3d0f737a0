from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dbtssl.data.prepared.prepared_dataset import write_dataset
from dbtssl.data.records import Box, Cohort, Label, Volume
from dbtssl.patches.monitor_patches import chosen_volumes, labelled_patches, spread_patches
from dbtssl.patches.patch_rule import PatchRule

ROWS, COLUMNS, DEPTH = 80, 60, 9
RULE = PatchRule(16, min_tissue=0.5)


def volume(patient, view, label=Label.NORMAL, boxes=()):
    return Volume(patient, "S", view, DEPTH, ROWS, COLUMNS, label, boxes)


def box(z, x, y):
    return Box(z, x, y, 6.0, 5.0, Label.CANCER)


LESIONS = (
    volume("A", "lcc", Label.CANCER, (box(2, 10.0, 20.0),)),
    volume("A", "lmlo", Label.CANCER, (box(6, 12.0, 50.0), box(1, 8.0, 30.0))),
    volume("B", "rcc", Label.BENIGN, (box(4, 40.0, 40.0),)),
)
OTHERS = (
    volume("B", "lcc", Label.BENIGN),  # biopsied, and not annotated
    volume("C", "lcc"),
    volume("C", "rmlo"),
    volume("D", "lcc", Label.ACTIONABLE),
)


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    """The 45 columns at the chest wall are tissue; each pixel tells its volume and slice."""
    volumes = LESIONS + OTHERS
    arrays, masks = [], []
    for i, v in enumerate(volumes):
        arrays.append(
            np.broadcast_to(
                (20 * i + np.arange(DEPTH))[:, None, None], (DEPTH, ROWS, COLUMNS)
            ).astype(np.uint16)
        )
        mask = np.zeros((ROWS, COLUMNS), dtype=bool)
        mask[5:75, :45] = True
        masks.append(mask if v.side == "l" else mask[:, ::-1])
    data = write_dataset(tmp_path_factory.mktemp("patches"), volumes, arrays, masks)
    return data.slices(range(len(volumes)))


def everything(slices):
    return range(len(slices.cohort))


def test_spread_patches_lie_in_the_tissue_of_evenly_spaced_slices(slices):
    found = spread_patches(slices, RULE, everything(slices), 3, 2)
    assert len(found) == 7 * 3 * 2
    assert {p.ref.z for p in found.places} == {1, 4, 7}
    for place in found.places:
        tissue = slices.tissue(place.ref.volume, RULE.rect(place.y, place.x))
        assert tissue.mean() >= 0.5
    item = found[5]
    assert item.shape == (1, 16, 16)
    at = found.places[5].ref
    np.testing.assert_allclose(item, (20 * at.volume + at.z) / 1023, rtol=1e-5)


def test_more_slices_than_there_are_take_each_once(slices):
    found = spread_patches(slices, RULE, [0], 50, 1)
    assert [p.ref.z for p in found.places] == list(range(DEPTH))


def test_lesion_patches_hold_the_box_on_its_slice(slices):
    found, abnormal = labelled_patches(slices, RULE, everything(slices), 3)
    assert abnormal.sum() == 4 * 3
    lesions = [p for p, a in zip(found.places, abnormal, strict=True) if a]
    for place in lesions:
        boxes = slices.cohort[place.ref.volume].boxes
        assert any(
            b.z == place.ref.z
            and place.y <= b.y
            and b.y + b.height <= place.y + 16
            and place.x <= b.x
            and b.x + b.width <= place.x + 16
            for b in boxes
        )
    assert len(set(lesions)) > 8  # three different ones of a lesion, but for chance


def test_normal_patches_are_of_normal_volumes_where_a_lesion_could_be(slices):
    found, abnormal = labelled_patches(slices, RULE, everything(slices), 40)
    normal = [p for p, a in zip(found.places, abnormal, strict=True) if not a]
    assert len(normal) == 2 * 40
    assert {p.ref.volume for p in normal} == {4, 5}
    for place in normal:
        assert slices.tissue(place.ref.volume, RULE.rect(place.y, place.x)).mean() >= 0.5
    # lesions lie at depths 1, 2, 4 and 6, and with their centres within 30 pixels of the chest wall
    assert {p.ref.z for p in normal} == {1, 2, 4, 6}
    for view, wall in ((4, 0), (5, COLUMNS)):
        far = [abs(p.x + 8 - wall) for p in normal if p.ref.volume == view]
        assert max(far) <= 30 + 4


def test_places_do_not_tell_the_label(tmp_path):
    """Lesions anywhere in the tissue: neither depth, height nor distance from the wall tells them from normal."""
    rng = np.random.default_rng(0)
    volumes = []
    for i in range(60):
        z, x, y = int(rng.integers(DEPTH)), rng.uniform(0, 38), rng.uniform(5, 68)
        sick = (Label.CANCER, (box(z, x, y),)) if i % 2 else ()
        volumes.append(volume(f"P{i}", "lcc", *sick))
    mask = np.zeros((ROWS, COLUMNS), dtype=bool)
    mask[5:75, :45] = True
    array = np.zeros((DEPTH, ROWS, COLUMNS), dtype=np.uint16)
    data = write_dataset(tmp_path, volumes, [array] * 60, [mask] * 60)
    found, abnormal = labelled_patches(data.slices(range(60)), RULE, range(60), 4)
    place = np.array([(p.ref.z, p.y, p.x) for p in found.places], dtype=float)
    sick, well = place[abnormal], place[~abnormal]
    error = np.sqrt(sick.var(axis=0) / 30 + well.var(axis=0) / 120)
    assert (np.abs(sick.mean(axis=0) - well.mean(axis=0)) < 3 * error).all()


def test_without_a_lesion_there_is_nothing_to_set_against_it(slices):
    found, abnormal = labelled_patches(slices, RULE, [4, 5], 3)
    assert len(found) == len(abnormal) == 0


def test_a_box_beyond_the_last_slice_is_on_the_last(slices, tmp_path):
    beyond = [replace(LESIONS[0], boxes=(box(30, 10.0, 20.0),))]
    data = write_dataset(tmp_path, beyond, [np.zeros((DEPTH, ROWS, COLUMNS), dtype=np.uint16)])
    found, _ = labelled_patches(data.slices([0]), RULE, [0], 1)
    assert found.places[0].ref.z == DEPTH - 1


def test_the_places_are_the_same_for_any_order_of_the_volumes(slices):
    def by_id(order):
        made = labelled_patches(slices, RULE, order, 2)[0].places
        return {(p.ref.volume, p.ref.z, p.y, p.x) for p in made if p.ref.volume < 3}

    assert by_id([0, 1, 2, 4]) == by_id([4, 2, 0, 1])


def test_all_patients_with_a_lesion_or_half_of_those_looked_at():
    def patients(sick, well, limit):
        cohort = Cohort(
            volume(f"P{i:03d}", view, Label.CANCER if i < sick else Label.NORMAL)
            for i in range(sick + well)
            for view in ("lcc", "lmlo")
        )
        chosen = {cohort[i].patient for i in chosen_volumes(cohort, limit)}
        count = sum(int(p[1:]) < sick for p in chosen)
        assert len(chosen_volumes(cohort, limit)) == 2 * len(chosen)
        return count, len(chosen) - count

    assert patients(3, 40, 10) == (3, 7)
    assert patients(30, 40, 10) == (5, 5)
    assert patients(30, 2, 10) == (8, 2)
    assert patients(3, 2, 10) == (3, 2)
    assert patients(0, 20, 5) == (0, 5)
