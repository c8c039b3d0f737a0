"""What the numbers that SIFT-DBT prints imply, computed with our own metrics."""

import csv
from pathlib import Path

import numpy as np
import pytest

from dbtssl.evaluation.rates import rate_values

PAPER = Path(__file__).parents[2] / "../shared/paper"
ABNORMAL, NORMAL, SUBSET = (
    320,
    245_875,
    58_980,
)  # slices of the test set, and of its subset of 892 volumes


@pytest.fixture
def paper_rows():
    path = PAPER / "table1_slice.csv"
    if not path.exists():
        pytest.skip(f"the paper's tables are not at {path.parent.name}/")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def npv(units, normal, nr, ar):
    """NPV in percent on ``normal`` slices and the 320 abnormal ones, at recalls ``nr`` and ``ar`` in percent."""
    scores = np.zeros(ABNORMAL + normal)
    scores[: round(ABNORMAL * ar / 100)] = 1
    scores[ABNORMAL : ABNORMAL + round(normal * (1 - nr / 100))] = 1
    abnormal = np.arange(len(scores)) < ABNORMAL
    values = rate_values(units(abnormal, scores, np.arange(len(scores)) // 70), 0.5, 0.95)
    assert 100 * values["ar"].value == pytest.approx(ar, abs=0.16)
    assert 100 * values["nr"].value == pytest.approx(nr, abs=0.01)
    return 100 * values["npv"].value


def test_table_1_mixes_two_test_sets(paper_rows, units):
    """Rows of one patch fit the subset and not the full set; the two of 20 patches the other way round."""
    for row in paper_rows:
        numbers = float(row["nr"]), float(row["ar"])
        fits, misses = (NORMAL, SUBSET) if row["patches"] == "20" else (SUBSET, NORMAL)
        printed = float(row["npv"])
        assert npv(units, fits, *numbers) == pytest.approx(printed, abs=0.0101), row
        assert abs(npv(units, misses, *numbers) - printed) > 0.05, row


def test_volume_recalls_are_whole_volumes_of_39(paper_rows):
    """Table 3's AR are multiples of 1/39, cut or rounded to two decimals: 33 of 39 is 84.62."""
    with (PAPER / "table3_volume.csv").open(newline="") as file:
        recalls = [float(row["ar"]) for row in csv.DictReader(file)]
    for recall in recalls:
        assert min(abs(recall - 100 * k / 39) for k in range(40)) < 0.011
