from __future__ import annotations

import shutil

import pytest

from dbtssl.data.splits.table_counts import survey
from dbtssl.data.tables.published_counts import OFFICIAL, SIFT_DBT, differences
from dbtssl.errors import DataError


def test_the_published_tables(real):
    """Section 1.3 of the facts on BCS-DBT: 4,362 patients, 4,838 studies, 19,148 volumes, 224 boxes on 200 volumes."""
    found = survey(real / "sift_dbt_lists")
    rows = {row.split: row for row in found.splits}
    assert rows["train"].found == {
        "patients": 4_362,
        "studies": 4_838,
        "volumes": 19_148,
        "normal": 18_232,
        "actionable": 716,
        "benign": 124,
        "cancer": 76,
        "abnormal": 200,
        "boxes": 224,
        "box_volumes": 200,
        "benign_boxes": 137,
        "cancer_boxes": 87,
        "distortions": 77,
    }
    assert rows["validation"].found == {"patients": 280, "studies": 312, "volumes": 1_163}
    assert rows["test"].found == {"patients": 418, "studies": 460, "volumes": 1_721}
    assert all(not differences(row.found, row.published) for row in found.splits)
    assert found.missing == (
        *(("file-paths", "train"), ("labels", "validation"), ("boxes", "validation")),
        *(("labels", "test"), ("boxes", "test")),
    )
    assert (found.unlabelled, found.pathless, found.parts) == (0, 0, ())


def test_sift_dbts_lists(real):
    """The split of SIFT-DBT: volumes, abnormal volumes and patients, with Actionable ones and without."""
    found = survey(real / "sift_dbt_lists", real / "sift_dbt_lists" / "csv")
    rows = {(row.split, row.dropped): row.found for row in found.parts}
    kept = [rows[part, True] for part in ("train", "val", "test")]
    assert [counts["volumes"] for counts in kept] == [12_819, 1_838, 3_775]
    assert [counts["abnormal"] for counts in kept] == [139, 22, 39]
    assert [(c["benign"], c["cancer"]) for c in kept] == [(87, 52), (12, 10), (25, 14)]
    everyone = [rows[part, False] for part in ("train", "val", "test")]
    assert [counts["patients"] for counts in everyone] == [3_052, 436, 874]
    assert [counts["volumes"] for counts in everyone] == [13_319, 1_910, 3_919]
    assert sum(counts["boxes"] for counts in everyone) == 224
    assert [counts["box_volumes"] for counts in kept] == [139, 22, 39]
    assert (found.lists, found.unlisted) == ("sift-dbt", 0)
    assert all(not differences(row.found, row.published) for row in found.parts)
    assert {row.published["volumes"] for row in found.parts if row.dropped} == {
        counts["volumes"] for _, counts in SIFT_DBT.values()
    }


def test_the_small_tree(small_tree):
    (row,) = survey(small_tree.root).splits
    assert row.published is OFFICIAL["train"]
    assert row.found == {
        "patients": 5,
        "studies": 5,
        "volumes": 6,
        "normal": 2,
        "actionable": 1,
        "benign": 1,
        "cancer": 2,
        "abnormal": 3,
        "boxes": 3,
        "box_volumes": 3,
        "benign_boxes": 1,
        "cancer_boxes": 2,
        "distortions": 0,
    }


def test_official_lists_stand_beside_the_published_counts(small_tree, tmp_path):
    for i, split in enumerate(("validation", "test")):
        other = type(small_tree)(small_tree.root).add(f"P{i + 7}", "lcc", "benign")
        other.tables(split)
    found = survey(small_tree.root, f"official:{small_tree.root}")
    volumes = {(row.split, row.dropped): row.found["volumes"] for row in found.parts}
    assert volumes == {
        ("train", False): 6,
        ("train", True): 5,
        ("val", False): 1,
        ("val", True): 1,
        ("test", False): 1,
        ("test", True): 1,
    }
    published = {row.split: row.published for row in found.parts if not row.dropped}
    assert published["val"] is OFFICIAL["validation"]


def test_labelled_volumes_that_no_list_holds_are_counted(small_tree, tmp_path):
    for part, rows in (("train", slice(1, 4)), ("val", slice(4, 5)), ("test", slice(5, 6))):
        lines = [small_tree.labels[0], *small_tree.labels[rows]]
        text = "".join(",".join(map(str, line)) + "\n" for line in lines)
        (tmp_path / f"BCS-DBT_{part}_label_v2.csv").write_text(text)
    found = survey(small_tree.root, tmp_path)
    assert found.unlisted == 1


def test_rows_in_one_table_only_are_counted(small_tree):
    small_tree.paths.pop()
    small_tree.tables()
    found = survey(small_tree.root)
    assert (found.unlabelled, found.pathless) == (0, 1)
    small_tree.labels.pop(4)
    small_tree.tables()
    found = survey(small_tree.root)
    assert (found.unlabelled, found.pathless) == (1, 1)


@pytest.mark.parametrize("kind", ["labels", "boxes", "file-paths"])
def test_any_table_may_be_missing(small_tree, kind):
    (small_tree.root / f"BCS-DBT-{kind}-train-v2.csv").unlink()
    found = survey(small_tree.root)
    (row,) = found.splits
    assert (kind, "train") in found.missing
    assert row.found["volumes"] == 6
    assert ("cancer" in row.found, "boxes" in row.found) == (kind != "labels", kind != "boxes")


def test_boxes_alone_say_nothing_of_other_volumes(small_tree):
    for kind in ("labels", "file-paths"):
        (small_tree.root / f"BCS-DBT-{kind}-train-v2.csv").unlink()
    (row,) = survey(small_tree.root).splits
    assert set(row.found) == {"boxes", "box_volumes", "benign_boxes", "cancer_boxes", "distortions"}


def test_a_folder_without_tables_is_refused(tmp_path):
    with pytest.raises(DataError, match="no table of labels, boxes, file-paths"):
        survey(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        survey(tmp_path / "absent")


def test_a_broken_table_is_refused_as_ever(small_tree):
    shutil.copyfile(
        small_tree.root / "BCS-DBT-labels-train-v2.csv",
        small_tree.root / "BCS-DBT-boxes-validation-v2.csv",
    )
    with pytest.raises(DataError, match="missing columns Slice"):
        survey(small_tree.root)
