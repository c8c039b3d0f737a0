from __future__ import annotations

import pytest

from dbtssl.data.tables.published_counts import COUNTED, OFFICIAL, SIFT_DBT, differences

# The whole collection: 22,032 series of 5,060 patients and 5,610 studies in the Imaging Data Commons. By label and in
# boxes as in the facts on BCS-DBT, section 1.3, "all".
COLLECTION = {"patients": 5_060, "studies": 5_610, "volumes": 22_032}
LABELS = {"normal": 20_516, "actionable": 1_120, "benign": 223, "cancer": 173}
BOXES = {"boxes": 435, "box_volumes": 396}


@pytest.mark.parametrize(("name", "total"), [*(COLLECTION | LABELS | BOXES).items()])
def test_the_official_splits_add_up_to_the_collection(name, total):
    assert sum(counts[name] for counts in OFFICIAL.values()) == total


@pytest.mark.parametrize("split", OFFICIAL)
def test_labels_add_up_to_volumes(split):
    counts = OFFICIAL[split]
    assert sum(counts[name] for name in LABELS) == counts["volumes"]
    assert counts["benign"] + counts["cancer"] == counts["abnormal"] == counts["box_volumes"]


def test_sift_dbt_divides_the_official_training_split():
    train = OFFICIAL["train"]
    for name in ("patients", "volumes", "abnormal"):
        assert sum(everything[name] for everything, _ in SIFT_DBT.values()) == train[name]
    dropped = [counts for _, counts in SIFT_DBT.values()]
    assert sum(counts["volumes"] for counts in dropped) == train["volumes"] - train["actionable"]
    for name in ("benign", "cancer"):
        assert sum(counts[name] for counts in dropped) == train[name]


def test_differences_are_of_counts_that_both_tell():
    assert differences({"volumes": 5, "boxes": 1, "cancer": 2}, {"volumes": 6, "cancer": 2}) == {
        "volumes": {"found": 5, "published": 6}
    }
    assert set(OFFICIAL["train"]) == set(COUNTED)
