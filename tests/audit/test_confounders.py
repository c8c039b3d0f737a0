from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dbtssl.audit.collect import from_tables, with_slice_counts
from dbtssl.audit.confounders import audit
from dbtssl.audit.volume_metadata import Feature, Seen
from dbtssl.data.records import Label
from dbtssl.data.splits.split_lists import read_lists


def feature(values, direction=1, name="x", missing="a table", **more):
    """A feature that has these values, whichever volumes are asked: by the number in the study's name."""
    return Feature(
        name, direction, lambda seen: [values[int(v.study)] for v in seen], "why", missing, **more
    )


def volumes(labels, patients=None):
    patients = range(len(labels)) if patients is None else patients
    return [
        Seen(f"P{p}", f"{i}", "lcc", Label(label))
        for i, (p, label) in enumerate(zip(patients, labels, strict=True))
    ]


def one(values, labels, parts=None, *, direction=1, patients=None, **how):
    parts = parts or [""] * len(labels)
    return audit(volumes(labels, patients), parts, features=[feature(values, direction)], **how)[0]


def cohort(n=400, seed=0, share=0.2):
    rng = np.random.default_rng(seed)
    return rng, np.where(rng.random(n) < share, 2, 0)


@pytest.fixture(scope="module")
def sift(real):
    """SIFT-DBT's lists with the published numbers of frames."""
    folder = real / "sift_dbt_lists"
    lists = read_lists(folder)
    material = from_tables(folder, lists)
    return with_slice_counts(material, folder / "BCS-DBT_slice_cnt.json", lists, folder)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    from pathlib import Path

    folder = Path(__file__).parents[3] / "shared" / "data" / "bcs-dbt"
    if not folder.is_dir():
        pytest.skip("the real BCS-DBT files are not beside the repository")
    return folder


def test_the_shortcuts_of_sift_dbts_test_split(sift):
    """Counted apart from this code: 1.000 by views, 0.68 by frames, 'diagnostic' for 22 of 39 and 296 of 3,736."""
    found = {f.feature: f for f in audit(sift.seen, sift.parts, part="test")}
    views, frames = found["volumes in the study"], found["frames in the volume"]
    assert (views.n_pos, views.n_neg, views.n_pos_patients, views.n_patients) == (39, 3736, 21, 843)
    assert views.auc.value == 1.0
    assert views.excludes_chance
    assert frames.auc.value == pytest.approx(0.68, abs=0.005)
    assert 0.5 < frames.auc.low < 0.68 < frames.auc.high
    sensitivity, false = 22 / 39, 296 / 3736  # of one threshold: the AUC is their mean
    text = found["'diagnostic' in the study description"]
    assert text.auc.value == pytest.approx((sensitivity + 1 - false) / 2, abs=1e-12)
    assert text.excludes_chance
    assert not found["side"].excludes_chance
    assert next(iter(found)) == "volumes in the study", "the strongest comes first"


def test_all_of_the_real_training_set(sift):
    views = audit(sift.seen, sift.parts)[0]
    assert (views.feature, views.n_pos, views.n_neg) == ("volumes in the study", 200, 18_232)
    assert views.auc.value == pytest.approx(0.970, abs=0.0005)


def test_what_has_no_files_says_what_it_needs(sift):
    found = {f.feature: f for f in audit(sift.seen, sift.parts, part="test")}
    for name in ("matrix size", "file size", "mean of the background"):
        assert found[name].auc.value is None
        assert "not known; it needs the f" in found[name].auc.reason
        assert found[name].score == ""


@pytest.mark.parametrize("direction", [1, -1])
def test_a_fixed_direction_is_kept_even_where_it_is_wrong(direction):
    rng, labels = cohort()
    x = rng.normal(size=len(labels)) + labels
    found = one(x.tolist(), labels, direction=direction)
    assert found.auc.value == pytest.approx(roc_auc_score(labels > 0, direction * x))
    assert found.score == ("more (fixed)" if direction > 0 else "less (fixed)")


def test_the_better_of_both_directions_is_said_to_be_that():
    rng, labels = cohort()
    x = rng.normal(size=len(labels)) - labels
    found = one(x.tolist(), labels, direction=0)
    assert found.auc.value == pytest.approx(roc_auc_score(labels > 0, -x))
    assert found.score == "less (the better of both)"


def test_a_direction_is_learnt_on_train_and_may_fail_on_test():
    rng, labels = cohort()
    parts = np.where(np.arange(len(labels)) % 2, "train", "test")
    x = rng.normal(size=len(labels)) + np.where(parts == "train", labels, -labels)
    found = one(x.tolist(), labels, list(parts), direction=0, part="test")
    test = parts == "test"
    assert found.score == "more (learnt on train)"
    assert found.auc.value == pytest.approx(roc_auc_score(labels[test] > 0, x[test]))
    assert found.auc.value < 0.5


def test_a_category_scores_by_its_rate_on_train():
    """Rates on train: a 1/2, b 1/4, c unseen; drawn to the overall rate they keep their order."""
    train = [("a", 2)] * 10 + [("a", 0)] * 10 + [("b", 2)] * 5 + [("b", 0)] * 15
    test = [("a", 2)] * 6 + [("b", 0)] * 6 + [("c", 2), ("c", 0)]
    names, labels = zip(*train, *test, strict=True)
    parts = ["train"] * len(train) + ["test"] * len(test)
    found = one(names, np.array(labels), parts, direction=None, part="test")
    order = {"a": 3, "c": 2, "b": 1}
    expected = roc_auc_score([x > 0 for _, x in test], [order[n] for n, _ in test])
    assert found.auc.value == pytest.approx(expected)
    assert found.score == "share of abnormals (learnt on train)"


def test_a_category_without_train_is_scored_on_the_other_half():
    _, labels = cohort(1000)
    names = np.where(labels > 0, "x", "y")
    found = one(names.tolist(), labels, direction=None)
    assert found.auc.value == 1
    assert found.n_pos + found.n_neg == pytest.approx(500, abs=1)
    assert "half of the patients" in found.score


def test_a_patient_is_never_in_both_halves():
    """One category a patient: nothing is learnt of the patients that are scored, so the scores are all alike."""
    labels = np.repeat([2, 0, 0, 0], 40)
    patients = np.arange(len(labels)) // 4
    found = one([f"{p}" for p in patients], labels, direction=None, patients=patients)
    assert found.auc.value == 0.5
    assert found.auc.reason == "all volumes are alike in it"


@pytest.mark.parametrize("direction", [1, 0, None])
def test_nothing_is_found_where_nothing_is(direction):
    """Of 100 null features about 5 may exclude 0.5; categories of many values are where optimism would show."""
    found = []
    for seed in range(100):
        rng, labels = cohort(240, seed)
        patients = np.arange(240) // 2
        labels = np.repeat(labels[::2], 2)
        x = rng.integers(0, 30, 240) if direction is None else rng.normal(size=240)
        found.append(one([float(v) for v in x], labels, direction=direction, patients=patients))
    aucs = [f.auc.value for f in found]
    excluded = sum(f.excludes_chance for f in found)
    assert excluded <= 12, (
        "more than 12 of 100 come about once in 700 with intervals that hold what they say"
    )
    if direction != 0:
        assert np.mean(aucs) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("actionable", "n_pos", "n_neg"), [("drop", 2, 3), ("normal", 2, 4), ("abnormal", 3, 3)]
)
def test_actionable(actionable, n_pos, n_neg):
    found = one(range(6), [0, 0, 0, 1, 2, 3], actionable=actionable)
    assert (found.n_pos, found.n_neg) == (n_pos, n_neg)


def test_few_patients_have_no_interval_and_say_so():
    found = one(range(6), [0, 0, 0, 0, 2, 3])
    assert found.auc.value == 1
    assert found.auc.reason == "interval needs 4 positive patients, has 2"
    assert not found.excludes_chance
    enough = one(range(8), [0, 0, 0, 0, 2, 3, 2, 2])
    assert (enough.auc.value, enough.auc.low) == (1, None)
    assert enough.excludes_chance


def test_the_strongest_comes_first_and_what_is_unknown_last():
    labels = [0, 0, 0, 0, 2, 2, 2, 2]
    features = [
        feature([None] * 8, name="unknown"),
        feature([0, 1] * 4, name="nothing"),
        feature([0, 0, 0, 1, 0, 1, 1, 1], name="some"),
        feature(range(8), name="against", direction=-1),
    ]
    found = audit(volumes(labels), [""] * 8, features=features)
    assert [f.feature for f in found] == ["against", "some", "nothing", "unknown"]
    assert found[0].auc.value == 0


def test_a_part_of_one_class_has_no_value():
    found = one(range(4), [0, 0, 2, 3], ["test", "test", "train", "train"], part="test")
    assert found.auc.value is None
    assert found.auc.reason == "0 abnormal and 2 normal volumes have it"


def test_volumes_that_lack_the_feature_are_left_out():
    found = one([None, 1.0, 0.0, None, 1.0, None], [0, 0, 0, 2, 2, 2])
    assert (found.n_pos, found.n_neg, found.n_patients) == (1, 2, 3)


def test_volumes_that_are_alike():
    found = one([3.0] * 40, [0, 2] * 20, direction=0)
    assert (found.auc.value, found.auc.low) == (0.5, None)
    assert not found.excludes_chance
