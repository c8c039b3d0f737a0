from __future__ import annotations

import csv
import random

import pytest

from dbtssl.data.records import Cohort, Label, Volume
from dbtssl.data.splits.patient_split import split_patients
from dbtssl.errors import ConfigError, DataError


def cohort(labels, views=("lcc", "lmlo")):
    return Cohort(Volume(p, "S1", v, 10, 9, 9, label) for p, label in labels.items() for v in views)


def ids(members, positions):
    return {members[i].id for i in positions}


def many(n_cancer=10, n_benign=20, n_normal=100, n_actionable=10):
    counts = (n_normal, n_actionable, n_benign, n_cancer)
    return {
        f"P{label}{i:03d}": label for label, n in zip(Label, counts, strict=True) for i in range(n)
    }


def test_no_patient_is_in_two_parts_and_none_is_lost():
    members = cohort(many())
    split = split_patients(members, actionable="normal")
    parts = [{members[i].patient for i in part} for part in (split.train, split.val, split.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 140
    assert sorted(split.train + split.val + split.test) == list(range(len(members)))


def test_every_stratum_is_shared_out_seven_one_two():
    members = cohort(many())
    split = split_patients(members)
    shares = {
        label: [
            sum(members[i].label == label for i in part) / 2
            for part in (split.train, split.val, split.test)
        ]
        for label in Label
    }
    assert shares[Label.CANCER] == [7, 1, 2]
    assert shares[Label.BENIGN] == [14, 2, 4]
    assert shares[Label.NORMAL] == [70, 10, 20]
    assert shares[Label.ACTIONABLE] == [0, 0, 0]
    assert (split.abnormal, split.normal) == ((21, 3, 6), (70, 10, 20))


def test_order_of_volumes_does_not_matter_and_the_seed_does():
    volumes = list(cohort(many()))
    shuffled = random.Random(1).sample(volumes, len(volumes))
    one, two = split_patients(Cohort(volumes), seed=3), split_patients(Cohort(shuffled), seed=3)
    assert one.digest == two.digest
    assert ids(volumes, one.test) == ids(shuffled, two.test)
    other = split_patients(Cohort(volumes), seed=4)
    assert other.digest != one.digest
    assert ids(volumes, other.test) != ids(volumes, one.test)


def test_a_patient_counts_by_the_worst_label_and_drops_only_actionable_volumes():
    members = Cohort(
        [
            Volume("P1", "S1", "lcc", 1, 1, 1, Label.NORMAL),
            Volume("P1", "S2", "lcc", 1, 1, 1, Label.ACTIONABLE),
            Volume("P2", "S1", "lcc", 1, 1, 1, Label.NORMAL),
            Volume("P2", "S2", "lcc", 1, 1, 1, Label.CANCER),
        ]
    )
    split = split_patients(members)
    assert sorted(split.train + split.val + split.test) == [0, 2, 3]
    assert (sum(split.abnormal), sum(split.normal)) == (1, 1)


@pytest.mark.parametrize(
    ("actionable", "abnormal", "normal"),
    [("drop", 30, 100), ("normal", 30, 110), ("abnormal", 40, 100)],
)
def test_actionable_policies(actionable, abnormal, normal):
    split = split_patients(cohort(many()), actionable=actionable)
    assert (sum(split.abnormal), sum(split.normal)) == (abnormal, normal)
    split.check()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("cancer", "benign", "normal"), [(1, 2, 3), (3, 0, 3), (0, 3, 5), (2, 2, 2), (1, 9, 3)]
)
def test_few_patients_still_give_every_part_its_share(cancer, benign, normal, seed):
    split = split_patients(cohort(many(cancer, benign, normal, 0)), seed=seed)
    assert min(split.abnormal) >= 1
    assert split.abnormal[0] >= split.abnormal[2] >= split.abnormal[1]
    assert min(split.normal) >= (1 if normal >= 3 else 0)
    split.check()


def test_six_patients_of_the_mini_tree():
    """Two cancers, two benign, two normal: abnormal patients in every part, normal ones in train and test."""
    split = split_patients(cohort(many(2, 2, 2, 0)))
    assert (split.abnormal, split.normal) == ((2, 1, 1), (1, 0, 1))


@pytest.mark.parametrize(("abnormal", "part"), [(0, "train"), (1, "val"), (2, "val")])
def test_a_part_without_an_abnormal_patient_is_refused(abnormal, part):
    split = split_patients(cohort(many(abnormal, 0, 20, 5)))
    with pytest.raises(
        DataError, match=f"no abnormal patient in the {part} split: {abnormal} abnormal"
    ) as error:
        split.check()
    assert "at least 3" in error.value.hint


@pytest.mark.parametrize("ratios", [(0.7, 0.3), (0.5, 0.1, 0.2), (1.2, -0.4, 0.2), (7, 1, 2)])
def test_ratios_must_be_three_shares_of_one(ratios):
    with pytest.raises(ConfigError, match="split ratios"):
        split_patients(cohort(many()), ratios=ratios)


def test_a_part_may_be_left_empty_on_purpose():
    split = split_patients(cohort(many()), ratios=(0.8, 0.0, 0.2))
    assert split.val == ()
    assert split.abnormal == (24, 0, 6)


def test_official_training_set_against_the_published_split(real):
    """SIFT-DBT cuts four strata of patients at 70 and 80 percent, which gives 3,052 / 436 / 874 patients."""
    with (real / "sift_dbt_lists" / "csv" / "BCS-DBT labels-train-v2.csv").open(newline="") as f:
        rows = list(csv.DictReader(f))
    names = ("Normal", "Actionable", "Benign", "Cancer")
    members = Cohort(
        Volume(
            r["PatientID"],
            r["StudyUID"],
            r["View"],
            1,
            1,
            1,
            Label([r[n] for n in names].index("1")),
        )
        for r in rows
    )
    split = split_patients(members, actionable="normal")
    patients = [a + n for a, n in zip(split.abnormal, split.normal, strict=True)]
    assert sum(patients) == 4362
    assert split.abnormal == (71, 10, 20)  # largest remainder of 70.7, 10.1, 20.2
    assert max(abs(p - q) for p, q in zip(patients, (3052, 436, 874), strict=True)) <= 2
