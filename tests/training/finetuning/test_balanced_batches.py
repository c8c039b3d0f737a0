from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from dbtssl.data.prepared.prepared_dataset import Slices
from dbtssl.data.records import Cohort
from dbtssl.errors import ConfigError, DataError
from dbtssl.interfaces import Labelled
from dbtssl.patches.patch_rule import PatchRule, lesion_corner
from dbtssl.testing.toy_slices import LESION, toy_labelled
from dbtssl.training.finetuning.augmentation import LightAugment
from dbtssl.training.finetuning.balanced_batches import (
    BalancedBatches,
    Sample,
    TrainPatches,
    flat_labels,
)

ABNORMAL = np.arange(100) < 7


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    return toy_labelled(tmp_path_factory.mktemp("toy"), patients=6, n_slices=5)


def batches(abnormal=ABNORMAL, *, batch_size=8, steps=10, epochs=range(3), seed=0):
    made = BalancedBatches(abnormal, batch_size=batch_size, steps=steps, epochs=epochs, seed=seed)
    found = list(made)
    assert len(found) == len(made)
    return found


@pytest.mark.parametrize("abnormal", [ABNORMAL, ~ABNORMAL])
def test_every_batch_is_half_abnormal(abnormal):
    for batch in batches(abnormal):
        assert sum(bool(abnormal[s.position]) for s in batch) == 4
        assert len(batch) == 8


def test_the_smaller_class_is_seen_evenly_and_the_larger_at_most_once_an_epoch():
    for epoch in range(3):
        seen = Counter(s.position for b in batches() for s in b if s.epoch == epoch)
        rare = [seen[i] for i in range(7)]
        assert sum(rare) == 40
        assert max(rare) - min(rare) <= 1
        assert max(seen[i] for i in range(7, 100)) == 1


def test_without_steps_an_epoch_has_as_many_patches_as_there_are_slices():
    assert len(batches(steps=None, epochs=range(1))) == 13  # 100 slices in batches of 8


def test_an_epoch_depends_on_seed_and_epoch_alone():
    assert batches(epochs=range(2, 3)) == batches()[20:]
    assert batches(seed=1) != batches()
    first, second = batches()[:10], batches()[10:20]
    assert [s.position for b in first for s in b] != [s.position for b in second for s in b]
    assert [s.number for b in first for s in b] == list(range(80))


@pytest.mark.parametrize("size", [1, 7])
def test_an_odd_batch_is_refused(size):
    with pytest.raises(ConfigError, match="even"):
        batches(batch_size=size)


def test_lesion_patches_contain_the_box(labelled):
    rule = PatchRule(32)
    patches = TrainPatches(labelled, rule, seed=0, augmentation=LightAugment())
    for position in np.flatnonzero(patches.abnormal):
        for number in range(10):
            pixels = patches[Sample(0, number, int(position))].pixels
            assert pixels.shape == (1, 32, 32)
            assert (pixels > 0.75).sum() == LESION**2  # the whole square is in the patch


def test_normal_patches_follow_the_tissue_rule(labelled):
    rule = PatchRule(16, 0.9)
    patches = TrainPatches(labelled, rule, seed=0, augmentation=LightAugment())
    for position in np.flatnonzero(~patches.abnormal)[::5]:
        for number in range(20):
            pixels = patches[Sample(0, number, int(position))].pixels
            assert (pixels > 0).mean() >= 0.9


def test_abnormal_slices_of_a_volume_without_a_box_follow_the_tissue_rule(labelled):
    bare = Slices(
        labelled.slices.root, Cohort(replace(v, boxes=()) for v in labelled.slices.cohort)
    )
    patches = TrainPatches(
        Labelled(bare, labelled.abnormal),
        PatchRule(16, 0.9),
        seed=0,
        augmentation=LightAugment(),
    )
    position = int(np.flatnonzero(patches.abnormal)[0])
    drawn = [patches[Sample(0, n, position)].pixels for n in range(20)]
    assert all((pixels > 0).mean() >= 0.9 for pixels in drawn)


def test_a_sample_depends_on_seed_epoch_and_number_alone(labelled):
    def draw(seed, sample):
        return TrainPatches(labelled, PatchRule(16), seed=seed, augmentation=LightAugment())[sample]

    one = draw(0, Sample(1, 5, 2))
    same = draw(0, Sample(1, 5, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    for seed, sample in ((1, Sample(1, 5, 2)), (0, Sample(2, 5, 2)), (0, Sample(1, 6, 2))):
        assert not np.array_equal(draw(seed, sample).drawn, one.drawn)


def test_flat_labels_are_in_the_order_of_volumes_and_slices(labelled):
    np.testing.assert_array_equal(
        flat_labels(labelled, "training"), np.concatenate(labelled.abnormal)
    )


@pytest.mark.parametrize(("value", "word"), [(False, "abnormal"), (True, "normal")])
def test_one_class_alone_is_refused(labelled, value, word):
    one = tuple(np.full_like(a, value) for a in labelled.abnormal)
    with pytest.raises(DataError, match=f"training: none of the 30 slices .* is {word}") as caught:
        flat_labels(Labelled(labelled.slices, one), "training")
    assert caught.value.hint


def test_labels_that_do_not_fit_are_refused(labelled):
    with pytest.raises(DataError, match="do not fit"):
        flat_labels(Labelled(labelled.slices, labelled.abnormal[1:]), "validation")


def test_the_lesion_rule_is_a_training_matter():
    """No module that scores may place a patch by a box."""
    import dbtssl.inference.predict as predict
    import dbtssl.patches.fixed_patches as scoring

    for module in (scoring, predict):
        assert lesion_corner not in vars(module).values()
