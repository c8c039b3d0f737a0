"""What the numbers that SIFT-DBT prints imply, computed with our own metrics."""

import csv
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dbtssl.errors import DataError
from dbtssl.evaluation.metrics.rates import rate_values
from dbtssl.evaluation.score_set import ScoreSet

ROOT = Path(__file__).parents[2]
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


def npv(normal, nr, ar):
    """NPV in percent on ``normal`` slices and the 320 abnormal ones, at recalls ``nr`` and ``ar`` in percent."""
    scores = np.zeros(ABNORMAL + normal)
    scores[: round(ABNORMAL * ar / 100)] = 1
    scores[ABNORMAL : ABNORMAL + round(normal * (1 - nr / 100))] = 1
    abnormal = np.arange(len(scores)) < ABNORMAL
    ids = tuple(f"u{i:06d}" for i in range(len(scores)))
    units = ScoreSet("slice", ids, np.arange(len(scores)) // 70, abnormal, scores)
    values = rate_values(units, 0.5, 0.95)
    assert 100 * values["ar"].value == pytest.approx(ar, abs=0.16)
    assert 100 * values["nr"].value == pytest.approx(nr, abs=0.01)
    return 100 * values["npv"].value


def test_table_1_mixes_two_test_sets(paper_rows):
    """Rows of one patch fit the subset and not the full set; the two of 20 patches the other way round."""
    for row in paper_rows:
        numbers = float(row["nr"]), float(row["ar"])
        fits, misses = (NORMAL, SUBSET) if row["patches"] == "20" else (SUBSET, NORMAL)
        printed = float(row["npv"])
        assert npv(fits, *numbers) == pytest.approx(printed, abs=0.0101), row
        assert abs(npv(misses, *numbers) - printed) > 0.05, row


def test_volume_recalls_are_whole_volumes_of_39(paper_rows):
    """Table 3's AR are multiples of 1/39, cut or rounded to two decimals: 33 of 39 is 84.62."""
    with (PAPER / "table3_volume.csv").open(newline="") as file:
        recalls = [float(row["ar"]) for row in csv.DictReader(file)]
    for recall in recalls:
        assert min(abs(recall - 100 * k / 39) for k in range(40)) < 0.011


@pytest.mark.parametrize("normals", [100, 3_736, 58_980, 245_875])
@pytest.mark.parametrize(("missed", "alarms"), [(1, 0.0), (37, 0.1), (125, 0.5), (319, 0.9)])
def test_printed_rates_imply_the_number_that_they_were_made_from(
    arithmetic, normals, missed, alarms
):
    """Rates of counts that are known, rounded as a table does."""
    right = normals - round(alarms * normals)
    npv = round(100 * right / (right + missed), 2)
    nr, ar = round(100 * right / normals, 2), round(100 * (320 - missed) / 320, 2)
    assert arithmetic.whole_misses(ar, 320) == missed
    assert arithmetic.implied_normals(npv, nr, ar, 320).holds(normals)


def test_the_range_in_closed_form(arithmetic):
    """FN 10 of 20, NR 50 %: NPV between 98.995 and 99.005 % means TN between 985.0249 and 995.0251."""
    found = arithmetic.implied_normals(99.0, 50.0, 50.0, 20)
    assert found.low == pytest.approx(10 * 0.98995 / 0.01005 / 0.50005)
    assert found.high == pytest.approx(10 * 0.99005 / 0.00995 / 0.49995)
    assert found.holds(1980)
    assert not found.holds(1965)


def test_nothing_missed_implies_nothing(arithmetic):
    assert arithmetic.implied_normals(100.0, 12.76, 100.0, 39) == (0.0, math.inf)
    assert arithmetic.implied_normals(100.0, 99.0, 99.69, 320).high == math.inf


def test_a_recall_that_no_count_gives(arithmetic):
    with pytest.raises(DataError, match=r"AR 74.5 % is no whole number of 39 abnormals"):
        arithmetic.whole_misses(74.5, 39)
    assert arithmetic.whole_misses(74.35, 39) == 10  # 29 of 39 is 74.359 %, cut in Table 3
    assert arithmetic.whole_misses(84.62, 39) == 6  # 33 of 39 is 84.615 %


def test_ranges_that_share_nothing(arithmetic):
    one, other = (
        arithmetic.implied_normals(99.0, 50.0, 50.0, 20),
        arithmetic.implied_normals(99.5, 50.0, 50.0, 20),
    )
    assert arithmetic.common([one, other]).low > arithmetic.common([one, other]).high
    assert arithmetic.common([one]) == one


def test_all_normal_is_the_share_of_normals(arithmetic):
    assert round(arithmetic.npv_of_all_normal(3_736, 39), 2) == 98.97


def test_the_page_is_what_the_script_prints():
    """docs/paper-arithmetic.md holds the output, line by line, and what it says of the two groups."""
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/paper_arithmetic.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    page = (ROOT / "docs/paper-arithmetic.md").read_text(encoding="utf-8")
    lines = [line for line in done.stdout.splitlines() if line]
    assert len(lines) == 2 + 9 + 2 + 2
    assert all(line in page.splitlines() for line in lines)
    fits = [line.split("|")[-3:-1] for line in lines[2:11]]
    assert fits == [[" yes ", " no "]] * 7 + [[" no ", " yes "]] * 2
    lines_of_rows = "\n".join(lines)
    assert "all 7 rows of 1 patch a slice: 58,683 to 59,557 normal slices" in lines_of_rows
