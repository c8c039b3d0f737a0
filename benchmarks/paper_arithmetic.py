"""How many normal slices each row of SIFT-DBT's Table 1 was scored on, from the numbers that it prints.

    python benchmarks/paper_arithmetic.py

The table below stands in docs/paper-arithmetic.md, which says what follows from it.
"""

from __future__ import annotations

from dbtssl.evaluation.arithmetic import common, implied_normals, npv_of_all_normal, whole_misses

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
