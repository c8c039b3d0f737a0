"""How many normal slices each row of SIFT-DBT's Table 1 was scored on, from the numbers that it prints.

    python benchmarks/paper_arithmetic.py

The table below is in docs/paper-arithmetic.md, which says what follows from it.

NPV is TN / (TN + FN). FN follows from the recall of abnormals and their number, TN is the recall of normals times the
number of normals; so NPV, both recalls and the number of abnormals give the number of normals, within rounding.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from dbtssl.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Table 1 of "SIFT-DBT: Self-supervised Initialization and Fine-Tuning for Imbalanced Digital Breast Tomosynthesis Image
# Classification", ISBI 2024, in percent: slices of BCS-DBT. Method, patches a slice, NPV, NR, AR.
TABLE_1 = (
    ("7-layer CNN, random initialisation", 1, 99.91, 59.10, 90.31),
    ("ResNet-50, random initialisation", 1, 99.76, 86.03, 61.25),
    ("ResNet-50, MoCo v2", 1, 99.75, 93.40, 56.56),
    ("ResNet-50, MedAug", 1, 99.86, 78.97, 79.37),
    ("ResNet-50, inter-slice", 1, 99.84, 87.42, 74.69),
    ("7-layer CNN, SIFT-DBT", 1, 99.83, 86.36, 73.44),
    ("ResNet-50, SIFT-DBT", 1, 99.89, 81.13, 83.13),
    ("7-layer CNN, SIFT-DBT", 20, 99.95, 98.98, 60.94),
    ("ResNet-50, SIFT-DBT", 20, 99.98, 76.38, 88.44),
)
ABNORMAL = 320  # slices of the test split, by the paper and by the released code
ALL = 245_875  # normal slices of the test split, by the paper
SUBSET = (
    58_980  # normal slices of the 892 volumes that the released code keeps under --subset-ratio 5.0
)
HALF_DIGIT = 0.005  # of a percentage with two decimals
CUT = 0.01  # the most that a percentage loses where it was cut, not rounded
ROUNDING = 1e-9  # of binary fractions


class Implied(NamedTuple):
    """The least and the greatest number of normals; ``high`` is infinite where NPV rounds to 100 %."""

    low: float
    high: float

    def holds(self, normals: int) -> bool:
        """Whether the row may have been scored on so many."""
        return self.low <= normals <= self.high


def implied_normals(npv: float, nr: float, ar: float, abnormals: int) -> Implied:
    """From NPV, NR and AR in percent, as printed with two decimals, on ``abnormals`` units.

    `DataError` where no whole number of abnormals gives AR.
    """
    missed = whole_misses(ar, abnormals)
    least, most = (npv - HALF_DIGIT) / 100, (npv + HALF_DIGIT) / 100
    low = missed * least / (1 - least) / ((nr + HALF_DIGIT) / 100)
    if missed == 0 or most >= 1:
        return Implied(low, math.inf)
    return Implied(low, missed * most / (1 - most) / ((nr - HALF_DIGIT) / 100))


def whole_misses(ar: float, abnormals: int) -> int:
    """Abnormals that are called normal at a recall ``ar`` in percent, rounded or cut to two decimals."""
    missed = round(abnormals * (1 - ar / 100))
    exact = 100 * (abnormals - missed) / abnormals
    if not -HALF_DIGIT - ROUNDING <= exact - ar <= CUT + ROUNDING:
        raise DataError(
            f"AR {ar} % is no whole number of {abnormals} abnormals; the nearest is {exact:.4f} %",
            hint="check the number of abnormals",
        )
    return missed


def common(rows: Sequence[Implied]) -> Implied:
    """What all ``rows`` allow; empty where ``low`` is above ``high``."""
    return Implied(max(row.low for row in rows), min(row.high for row in rows))


def npv_of_all_normal(normals: int, abnormals: int) -> float:
    """NPV in percent of calling everything normal: the share of normals."""
    return 100 * normals / (normals + abnormals)


def table() -> str:
    """One line a row: what it implies, and which of the two sets of normal slices that allows."""
    lines = [
        "| method | patches | NPV | NR | AR | missed | normal slices that it implies | 58,980 | 245,875 |",
        "|:--|--:|--:|--:|--:|--:|--:|:-:|:-:|",
    ]
    for method, patches, npv, nr, ar in TABLE_1:
        implied = implied_normals(npv, nr, ar, ABNORMAL)
        fits = ["yes" if implied.holds(normals) else "no" for normals in (SUBSET, ALL)]
        lines.append(
            f"| {method} | {patches} | {npv:.2f} | {nr:.2f} | {ar:.2f} | {whole_misses(ar, ABNORMAL)} "
            f"| {implied.low:,.0f} to {implied.high:,.0f} | {fits[0]} | {fits[1]} |"
        )
    return "\n".join(lines)


def together() -> str:
    """What the rows of one number of patches allow together."""
    lines = []
    for patches in (1, 20):
        rows = [implied_normals(*row[2:], ABNORMAL) for row in TABLE_1 if row[1] == patches]
        both = common(rows)
        lines.append(
            f"* all {len(rows)} rows of {patches} patch{'es' if patches > 1 else ''} a slice: "
            f"{both.low:,.0f} to {both.high:,.0f} normal slices"
        )
    return "\n".join(lines)


def all_normal() -> str:
    """NPV of the rule that looks at no image, on both sets."""
    return "\n".join(
        f"* {normals:,} normal and {ABNORMAL} abnormal slices: {npv_of_all_normal(normals, ABNORMAL):.2f} %"
        for normals in (SUBSET, ALL)
    )


if __name__ == "__main__":
    print(table(), together(), all_normal(), sep="\n\n")
