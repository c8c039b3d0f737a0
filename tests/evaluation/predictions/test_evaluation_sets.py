import csv
import json
from pathlib import Path

import numpy as np
import pytest

from dbtssl.errors import DataError
from dbtssl.evaluation.aggregation.apply import upper_sets
from dbtssl.evaluation.predictions.evaluation_sets import (
    FULL,
    NAMES,
    SUB5,
    SUBSET,
    TEST_LIST,
    read_subset,
)
from dbtssl.evaluation.score_set import ScoreSet, codes

LISTS = Path(__file__).parents[4] / "shared" / "data" / "bcs-dbt" / "sift_dbt_lists"
REAL = pytest.mark.skipif(not LISTS.is_dir(), reason="SIFT-DBT's lists lie outside the project")


def volume_id(row):
    return f"{row['PatientID']}_{row['StudyUID']}_{row['View'].lower()}"


@pytest.fixture(scope="module")
def test_list():
    with (LISTS / "csv" / TEST_LIST).open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [r for r in rows if r["Actionable"] == "0"]


def named(rows, level):
    """The name of the set of ``rows``: volumes, and the breasts and patients above them."""
    abnormal = np.array([r["Normal"] == "0" for r in rows])
    patients = [r["PatientID"] for r in rows]
    volumes = ScoreSet(
        "volume", tuple(map(volume_id, rows)), codes(patients), abnormal, np.zeros(len(rows))
    )
    above = upper_sets(
        volumes, patients, [r["StudyUID"] for r in rows], [r["View"].lower() for r in rows]
    )
    sets = {s.level: s for s in (volumes, *above)}
    return NAMES.get(sets[level].evaluation_set)


@REAL
@pytest.mark.parametrize("level", ["volume", "breast", "patient"])
def test_the_published_lists_have_their_names(test_list, level):
    subset = read_subset(LISTS)
    assert (len(test_list), len(subset)) == (3775, 892)
    assert named(test_list, level) == FULL
    part = [r for r in test_list if volume_id(r) in subset]
    assert sum(r["Normal"] == "0" for r in part) == 39
    assert named(part, level) == SUB5
    assert named(part[1:], level) is None


@REAL
@pytest.mark.parametrize(("after", "positive"), [(3, 320), (4, 360)])
def test_slices_have_the_papers_counts_and_names(test_list, after, positive):
    """245,875 and 58,980 normal slices (the paper's table 1 and its arithmetic)."""
    counts = json.loads((LISTS / "BCS-DBT_slice_cnt.json").read_text())
    boxes = {}
    with (LISTS / "csv" / "BCS-DBT boxes-train-v2.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            boxes.setdefault(volume_id(row), []).append(int(row["Slice"]))
    subset = read_subset(LISTS)
    for rows, normal, name in (
        (test_list, 246195 - positive, FULL),
        ([r for r in test_list if volume_id(r) in subset], 59300 - positive, SUB5),
    ):
        ids, abnormal = [], []
        for row in rows:
            own = boxes.get(volume_id(row), ())
            for z in range(counts[row["classic_path"]]):
                ids.append(f"{volume_id(row)}:{z:04d}")
                abnormal.append(any(s - 4 <= z <= s + after for s in own))
        zeros = np.zeros(len(ids))
        units = ScoreSet("slice", tuple(ids), zeros.astype(int), np.array(abnormal), zeros)
        assert (units.abnormal.sum(), (~units.abnormal).sum()) == (positive, normal)
        assert NAMES[units.evaluation_set] == name


def write(folder, numbers):
    rows = ["PatientID,StudyUID,View", *(f"P{i},S{i},LCC" for i in range(4))]
    (folder / TEST_LIST).write_text("\n".join(rows))
    (folder / "in").mkdir()
    (folder / "in" / SUBSET).write_text(numbers)


def test_the_subset_is_by_row_numbers_of_the_list(tmp_path):
    write(tmp_path, "[[1, 3], [0, 2]]")
    assert read_subset(tmp_path) == {"P1_S1_lcc", "P3_S3_lcc"}


@pytest.mark.parametrize("numbers", ["[[4], [0]]", "{}", "[[1]", '[["a"], [0]]'])
def test_numbers_of_another_list(tmp_path, numbers):
    write(tmp_path, numbers)
    with pytest.raises(DataError, match="does not hold row numbers of"):
        read_subset(tmp_path)


def test_no_subset(tmp_path):
    assert read_subset(tmp_path) is None
