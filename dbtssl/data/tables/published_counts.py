"""How much each published table of BCS-DBT holds, to be printed beside what was found.

Patients, studies and volumes were counted on the tables of the second release (TCIA, doi 10.7937/E4WT-CD02), and so
were the labels and boxes of training. The labels and boxes of validation and test came in January 2024; with those of
training they add up to the 22,032 series of the collection. SIFT-DBT's counts are of its released lists, which divide
the official training patients; Actionable volumes are dropped from them afterwards (SIFT-DBT, section 3.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# What is counted. A count that no table tells is left out of a `Counts`.
COUNTED = (
    "patients",
    "studies",
    "volumes",
    "normal",
    "actionable",
    "benign",
    "cancer",
    "abnormal",  # volumes, benign and cancer
    "boxes",
    "box_volumes",
    "benign_boxes",
    "cancer_boxes",
    "distortions",  # boxes of an architectural distortion
)
Counts = dict[str, int]

OFFICIAL: Mapping[str, Counts] = {
    "train": {
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
    },
    "validation": {
        "patients": 280,
        "studies": 312,
        "volumes": 1_163,
        "normal": 928,
        "actionable": 160,
        "benign": 38,
        "cancer": 37,
        "abnormal": 75,
        "boxes": 75,
        "box_volumes": 75,
    },
    "test": {
        "patients": 418,
        "studies": 460,
        "volumes": 1_721,
        "normal": 1_356,
        "actionable": 244,
        "benign": 61,
        "cancer": 60,
        "abnormal": 121,
        "boxes": 136,
        "box_volumes": 121,
    },
}

# part -> with all volumes, and without Actionable ones
SIFT_DBT: Mapping[str, tuple[Counts, Counts]] = {
    "train": (
        {"patients": 3_052, "volumes": 13_319, "abnormal": 139},
        {"volumes": 12_819, "benign": 87, "cancer": 52, "abnormal": 139},
    ),
    "val": (
        {"patients": 436, "volumes": 1_910, "abnormal": 22},
        {"volumes": 1_838, "benign": 12, "cancer": 10, "abnormal": 22},
    ),
    "test": (
        {"patients": 874, "volumes": 3_919, "abnormal": 39},
        {"volumes": 3_775, "benign": 25, "cancer": 14, "abnormal": 39},
    ),
}


def differences(found: Counts, published: Counts) -> dict[str, Any]:
    """The counts that are known of both and not the same: ``name -> {"found": n, "published": m}``."""
    return {
        name: {"found": found[name], "published": published[name]}
        for name in COUNTED
        if name in found and name in published and found[name] != published[name]
    }
