from __future__ import annotations

import csv
import shutil
from collections import Counter

import pytest

from dbtssl.data.records import Cohort, Label, Volume
from dbtssl.data.splits.patient_split import split_from_lists, split_patients
from dbtssl.data.splits.split_lists import read_lists, read_rows
from dbtssl.data.tables.published_tables import Key
from dbtssl.errors import DataError

KEY = ["PatientID", "StudyUID", "View"]
CLASSES = ["Normal", "Actionable", "Benign", "Cancer"]


def write(path, rows, header=(*KEY, *CLASSES), **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as out:
        csv.writer(out, **how).writerows([header, *rows])


def line(patient, view="lcc", label=0, study="S1"):
    return [patient, study, view, *(int(i == label) for i in range(4))]


@pytest.fixture
def folder(tmp_path):
    """Lists in SIFT-DBT's manner: P1 and P2 in validation, P3 in test, and P4 only in the published labels."""
    write(
        tmp_path / "BCS-DBT_val_label_v2.csv", [line("P1", label=3), line("P2"), line("P2", "rcc")]
    )
    write(tmp_path / "BCS-DBT_test_label_v2.csv", [line("P3", label=2), line("P3", "rcc")])
    published = [line("P1", label=3), line("P2"), line("P2", "rcc"), line("P2", "lmlo")]
    published += [line("P3", label=2), line("P3", "rcc"), line("P4", label=3), line("P5", label=1)]
    write(tmp_path / "BCS-DBT-labels-train-v2.csv", published)
    return tmp_path


def of(lists):
    return {"/".join(key): row.part for key, row in lists.listed.items()}


def cohort(*volumes):
    return Cohort(Volume(p, "S1", view, 1, 1, 1, Label(label)) for p, view, label in volumes)


def everyone():
    return cohort(
        *[("P1", "lcc", 3), ("P2", "lcc", 0), ("P2", "rcc", 0), ("P3", "lcc", 2), ("P3", "rcc", 0)],
        *[("P4", "lcc", 3), ("P5", "lcc", 1)],
    )


def test_the_published_counts_of_sift_dbt(real):
    """Facts recomputed from the repository's lists: 13,319 / 1,910 / 3,919 volumes, Actionable counted."""
    lists = read_lists(real / "sift_dbt_lists" / "csv")
    assert lists.name == "sift-dbt"

    def count(keep):
        rows = [(key, row) for key, row in lists.listed.items() if keep(row.label)]
        volumes = Counter(row.part for _, row in rows)
        patients = Counter(part for _, part in {(key.patient, row.part) for key, row in rows})
        return [(volumes[p], patients[p]) for p in ("train", "val", "test")]

    assert count(lambda _: True) == [(13_319, 3_052), (1_910, 436), (3_919, 874)]
    without = count(lambda label: label != Label.ACTIONABLE)
    assert [volumes for volumes, _ in without] == [12_819, 1_838, 3_775]
    assert [volumes for volumes, _ in count(lambda label: label.abnormal)] == [139, 22, 39]
    cancers = [volumes for volumes, _ in count(lambda label: label == Label.CANCER)]
    assert cancers == [52, 10, 14]


def test_the_real_training_table_splits_into_the_published_counts(real):
    lists = read_lists(real / "sift_dbt_lists")  # the folder above holds them as well
    rows = read_rows(real / "sift_dbt_lists")
    volumes = [Volume(*k, 1, 1, 1, r.label) for k, r in rows.items() if r.label is not None]
    members = Cohort(volumes)
    split = split_from_lists(members, lists)
    parts = (split.train, split.val, split.test)
    assert [len(part) for part in parts] == [12_819, 1_838, 3_775]
    assert [sum(members[i].label.abnormal for i in part) for part in parts] == [139, 22, 39]
    assert split.notes == ()
    counted = split_from_lists(members, lists, "normal")
    assert [a + n for a, n in zip(counted.abnormal, counted.normal, strict=True)] == [
        3052,
        436,
        874,
    ]
    assert split.digest == split_from_lists(Cohort(reversed(volumes)), lists).digest


def test_the_official_parts_of_the_same_folder(real):
    lists = read_lists(f"official:{real / 'sift_dbt_lists' / 'csv'}")
    assert lists.name == "official"
    assert Counter(row.part for row in lists.listed.values()) == {
        "train": 19_148,
        "val": 1_163,
        "test": 1_721,
    }
    patients = Counter(p for _, p in {(k.patient, r.part) for k, r in lists.listed.items()})
    assert patients == {"train": 4_362, "val": 280, "test": 418}


def test_training_is_the_published_table_less_the_patients_of_the_lists(folder):
    assert of(read_lists(folder)) == {
        "P1/S1/lcc": "val",
        "P2/S1/lcc": "val",
        "P2/S1/rcc": "val",
        "P3/S1/lcc": "test",
        "P3/S1/rcc": "test",
        "P4/S1/lcc": "train",
        "P5/S1/lcc": "train",
    }


def test_a_training_list_is_taken_as_it_is(folder):
    write(folder / "BCS-DBT_train_label_v2.csv", [line("P4", label=3)])
    assert sorted(p for p, part in of(read_lists(folder)).items() if part == "train") == [
        "P4/S1/lcc"
    ]


def test_labels_and_paths_of_one_part_are_joined(tmp_path):
    for split, patient in (("train", "P1"), ("validation", "P2"), ("test", "P3")):
        write(tmp_path / f"BCS-DBT labels-{split}.csv", [line(patient, label=2)])
        header = (*KEY, "descriptive_path", "classic_path")
        write(
            tmp_path / "more" / f"BCS-DBT-file-paths-{split}-v2.csv",
            [[patient, "S1", " LCC", "d", "c"], [patient, "S1", "rcc", "d", "c"]],
            header,
            lineterminator="\r\n",
        )
    lists = read_lists(tmp_path)
    assert lists.listed[Key("P2", "S1", "lcc")] == ("val", Label.BENIGN, "c", "d")
    assert lists.listed[Key("P2", "S1", "rcc")] == ("val", None, "c", "d")
    assert len(lists.listed) == len(lists.files) == 6


def test_a_copy_of_a_list_does_no_harm_and_another_list_does(folder):
    (folder / "again").mkdir()
    name = "BCS-DBT_val_label_v2.csv"
    before = read_lists(folder).digest
    shutil.copy(folder / name, folder / "again" / name)
    assert read_lists(folder).digest == before
    write(folder / "again" / name, [line("P1", label=3)])
    with pytest.raises(DataError, match=r"two different lists of list for val: .* and "):
        read_lists(folder)


def test_a_patient_in_two_parts_is_named(folder):
    write(folder / "BCS-DBT_train_label_v2.csv", [line("P3", "lmlo"), line("P2", "lmlo")])
    with pytest.raises(DataError, match="2 patients are in two parts") as error:
        read_lists(folder)
    assert "P2 (train and val), P3 (test and train)" in error.value.message
    assert "fix the lists" in error.value.hint


@pytest.mark.parametrize(("one", "other"), [("7", "007"), ("7", "7.0"), ("P2", "p02")])
def test_a_patient_in_two_parts_and_two_spellings_is_named(folder, one, other):
    write(folder / "BCS-DBT_train_label_v2.csv", [line(one, "lmlo")])
    write(folder / "BCS-DBT_val_label_v2.csv", [line(other, "lcc")])
    with pytest.raises(DataError, match="1 patients are in two parts") as error:
        read_lists(folder)
    assert " or ".join(sorted([one, other])) + " (train and val)" in error.value.message


def test_training_without_the_patients_of_the_lists_knows_other_spellings(folder):
    """P2 of validation stays in the published training table as p02, unless ids are compared as numbers."""
    write(folder / "BCS-DBT_val_label_v2.csv", [line("p02", "lcc")])
    with pytest.raises(DataError, match="P2 or p02"):
        read_lists(folder)


def test_a_volume_in_two_parts_is_named(folder):
    write(folder / "BCS-DBT_test_label_v2.csv", [line("P3"), line("P1", label=3)])
    with pytest.raises(
        DataError, match=r"volume P1/S1/lcc is of .* here and of .* in another list"
    ):
        read_lists(folder)


@pytest.mark.parametrize(
    ("remove", "told"),
    [
        ("BCS-DBT_val_label_v2.csv", "no list for val"),
        ("BCS-DBT-labels-train-v2.csv", "neither a list nor the published labels of train"),
    ],
)
def test_a_missing_part_is_told(folder, remove, told):
    (folder / remove).unlink()
    with pytest.raises(DataError, match=told) as error:
        read_lists(folder)
    assert "BCS-DBT-labels-train-v2.csv" in error.value.hint


def test_the_official_split_needs_all_its_tables(folder):
    with pytest.raises(DataError, match="no published table for test and val"):
        read_lists(f"official:{folder}")


def test_a_folder_that_is_not_there_or_holds_nothing(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        read_lists(tmp_path / "absent")
    with pytest.raises(DataError, match="no published table for test and train and val"):
        read_lists(tmp_path)
    with pytest.raises(DataError, match="no list for test and val"):
        read_lists(f"sift-dbt:{tmp_path}")


def test_a_broken_list_is_told(folder):
    path = folder / "BCS-DBT_val_label_v2.csv"
    write(path, [["P1", "lcc"]], ["PatientID", "View"])
    with pytest.raises(DataError, match="missing columns StudyUID; found PatientID, View"):
        read_lists(folder)
    write(path, [line("P1"), line("P1")])
    with pytest.raises(DataError, match="line 3: volume P1/S1/lcc is listed twice"):
        read_lists(folder)
    path.write_bytes(b"PatientID,StudyUID,View\nP\xe4,S,lcc\n")
    with pytest.raises(DataError, match="cannot be read as a list"):
        read_lists(folder)


def test_parts_of_a_cohort(folder):
    members = everyone()
    split = split_from_lists(members, read_lists(folder))
    shown = [[members[i].id for i in part] for part in (split.train, split.val, split.test)]
    assert shown == [
        ["P4_S1_lcc"],
        ["P1_S1_lcc", "P2_S1_lcc", "P2_S1_rcc"],
        ["P3_S1_lcc", "P3_S1_rcc"],
    ]
    assert (split.abnormal, split.normal) == ((1, 1, 1), (0, 1, 0))
    split.check()


@pytest.mark.parametrize(
    ("actionable", "train", "abnormal", "normal"),
    [("drop", 1, 1, 0), ("normal", 2, 1, 1), ("abnormal", 2, 2, 0)],
)
def test_actionable_in_a_listed_split(folder, actionable, train, abnormal, normal):
    split = split_from_lists(everyone(), read_lists(folder), actionable)
    assert (len(split.train), split.abnormal[0], split.normal[0]) == (train, abnormal, normal)


def test_what_lists_and_cohort_do_not_share_is_counted(folder):
    members = cohort(
        *[("P1", "lcc", 3), ("P3", "lcc", 3), ("P4", "lcc", 3), ("P9", "lcc", 0), ("P2", "lmlo", 0)]
    )
    split = split_from_lists(members, read_lists(folder))
    assert [len(part) for part in (split.train, split.val, split.test)] == [1, 1, 1]
    assert split.notes == (
        "2 volumes are in no list and left out: P9_S1_lcc, P2_S1_lmlo",
        "4 listed volumes are not in the data: P3/S1/rcc, P2/S1/lcc, P2/S1/rcc",
        "1 volumes have another label in the lists, which is not used: P3_S1_lcc",
    )


def test_a_cohort_that_no_list_knows_is_refused(folder):
    with pytest.raises(DataError, match="none of the 1 volumes is in the lists") as error:
        split_from_lists(cohort(("X1", "lcc", 0)), read_lists(folder))
    assert "PatientID, StudyUID and View" in error.value.hint


def test_one_hash_for_one_division_however_it_came_about(folder, tmp_path):
    members = everyone()
    listed = split_from_lists(members, read_lists(folder), "normal")
    by_seed = split_patients(members, (0.4, 0.3, 0.3), seed=2, actionable="normal")
    assert listed.digest != by_seed.digest
    parts = {"train": by_seed.train, "val": by_seed.val, "test": by_seed.test}
    for part, positions in parts.items():
        rows = [line(members[i].patient, members[i].view, members[i].label) for i in positions]
        write(tmp_path / "own" / f"my_{part}_list.csv", rows)
    again = split_from_lists(members, read_lists(tmp_path / "own"), "normal")
    assert again == by_seed


def test_rows_of_all_lists_without_regard_to_parts(folder, tmp_path):
    assert read_rows(folder)[Key("P5", "S1", "lcc")].label == Label.ACTIONABLE
    assert len(read_rows(folder)) == 8
    (tmp_path / "empty").mkdir()
    assert read_rows(tmp_path / "empty") == {}
