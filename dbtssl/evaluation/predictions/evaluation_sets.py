"""Evaluation sets that have a name, known by the hash of their units and labels: a paper's rows are on one of these.

The released SIFT-DBT evaluation has two: the whole test list without Actionable volumes (3,775), and a subset of it
with all biopsied volumes and about a quarter of the normal ones (892, ``BCS-DBT_test_subset_idx_5.00.json``: row
numbers of the test list). Its table 1 mixes them: rows of one patch a slice are on the subset.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dbtssl.data.tables.csv_rows import csv_rows
from dbtssl.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

FULL, SUB5 = "bcs-dbt-sift-test-full", "bcs-dbt-sift-test-sub5"
TEST_LIST, SUBSET = "BCS-DBT_test_label_v2.csv", "BCS-DBT_test_subset_idx_5.00.json"
KEY = ("PatientID", "StudyUID", "View")

# levels and lesion windows: volumes, breasts, patients, slices with 4 and 3 neighbours, slices with 4 and 4
_HASHES = {
    FULL: (
        "4f4e6325ce2c296821626d2f8348a572757f6bc5b3cd655328f3cc0a7bb22042",
        "a9c55754fd2d4e2f35743bec3d9ca041420d2861419c2e8374be3fc4b22412a7",
        "07569810d261ab6bc8614dafa88df75ed9f315fe70a27fe315b1644080ec7a16",
        "5b76b42cef0f55dae5d2e63fb9c2f1b69ec83290305ee382a5b5613bf74fec78",
        "972b12e9251fcb93d9d5866380d1bb968f32dc2a3f511156d99f859d49a7ff0f",
    ),
    SUB5: (
        "60a9242bb6e00ee42af0735b073382f36c4f139b7dce200e885b2439020a9a2f",
        "b5ad1fad0e6278d7e6c24e47e5dd1564144ed14fdc5fe16f4ab10d44427a07e1",
        "5c9b29db9da39f9eacbb12dce5d78b21627e7bb267a79edb8c0538105aa61000",
        "ef38a42768abc09e67d93958637c1d14c3a75e33c57570ceee337cab310d2650",
        "75306750f8062c58baed7b1e1e26395ea6a9a71428e828791717e124cf35ef58",
    ),
}

NAMES = {digest: name for name, digests in _HASHES.items() for digest in digests}
"""`ScoreSet.evaluation_set` to the name of the set."""


def read_subset(folder: Path) -> frozenset[str] | None:
    """The ids of SIFT-DBT's 892 test volumes, from its list and its JSON file in ``folder`` or a folder in it.

    None where one of the two is not there; `DataError` where they do not belong together.
    """
    found = [next(iter(sorted(folder.rglob(name))), None) for name in (TEST_LIST, SUBSET)]
    if found[0] is None or found[1] is None:
        return None
    listed, subset = found[0], found[1]
    hint = "put both files of the released SIFT-DBT code into the folder"
    rows = [row for row, _ in csv_rows(listed, KEY, what="list", hint=hint)]
    try:
        numbers, _ = json.loads(subset.read_text(encoding="utf-8"))
        chosen = [rows[int(i)] for i in numbers if int(i) >= 0]
    except (ValueError, TypeError, IndexError) as exc:
        raise DataError(
            f"{subset} does not hold row numbers of {listed.name}: {exc}",
            hint=hint,
        ) from None
    return frozenset(f"{r['PatientID']}_{r['StudyUID']}_{r['View'].lower()}" for r in chosen)
