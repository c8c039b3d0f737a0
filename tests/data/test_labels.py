from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from dbtssl.data.records import Box, Label, Volume, abnormal_slices


def volume(n, *z):
    boxes = tuple(Box(k, 0, 0, 9, 9, Label.CANCER) for k in z)
    return Volume("P", "S", "lcc", n, 10, 10, Label.CANCER if z else Label.NORMAL, boxes)


@pytest.mark.parametrize(
    ("z", "before", "after", "expected"),
    [
        ([10], 4, 4, range(6, 15)),
        ([10], 4, 3, range(6, 14)),
        ([10], 0, 0, [10]),
        ([0], 4, 4, range(5)),
        ([19], 4, 4, range(15, 20)),
        ([3, 9], 2, 2, [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]),
        ([], 4, 4, []),
    ],
)
def test_window_of_slices(z, before, after, expected):
    assert np.flatnonzero(abnormal_slices(volume(20, *z), before, after)).tolist() == list(expected)


def test_counts_of_the_published_test_split(real):
    """SIFT-DBT's test split has 320 abnormal and 245,875 normal slices; a symmetric window would give 360."""
    lists = real / "sift_dbt_lists"
    frames = json.loads((lists / "BCS-DBT_slice_cnt.json").read_text())
    with (lists / "csv" / "BCS-DBT boxes-train-v2.csv").open(newline="") as f:
        boxes: dict[tuple[str, ...], list[int]] = {}
        for row in csv.DictReader(f):
            boxes.setdefault((row["PatientID"], row["StudyUID"], row["View"]), []).append(
                int(row["Slice"])
            )
    published, symmetric, slices = 0, 0, 0
    with (lists / "csv" / "BCS-DBT_test_label_v2.csv").open(newline="") as f:
        for row in csv.DictReader(f):
            if row["Actionable"] == "1":
                continue
            path = row["classic_path"]
            v = volume(
                frames[path], *boxes.get((row["PatientID"], row["StudyUID"], row["View"]), ())
            )
            slices += v.n_slices
            published += int(abnormal_slices(v, before=4, after=3).sum())
            symmetric += int(abnormal_slices(v).sum())
    assert (published, slices - published, symmetric) == (320, 245_875, 360)
