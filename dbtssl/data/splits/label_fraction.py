"""Label budgets: which training patients keep their labels when a share of them is given.

A share p of n patients is ceil(p * n) of them, of the abnormal and of the normal ones apart, so that every class that
is there stays there. Who comes first is decided by a hash of seed and patient: a smaller share lies within every larger
one, the draw is another for each seed, and it depends neither on the method nor on the order of the cohort.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtssl.config import digest
from dbtssl.data.records import Label
from dbtssl.data.splits.patient_split import abnormal_patients

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from fractions import Fraction

    from dbtssl.data.records import Cohort
    from dbtssl.data.splits.patient_split import Actionable


@dataclass(frozen=True)
class LabelBudget:
    """Positions of the training volumes whose labels may be read, in the order of the split.

    ``digest`` is a hash of their ids; empty where all training volumes are among them, so that a share which leaves
    nobody out is the same thing as no budget. Counts are patients.
    """

    volumes: tuple[int, ...]
    digest: str
    abnormal: int
    normal: int


def draw_labels(
    cohort: Cohort, train: Sequence[int], share: float, seed: int, actionable: Actionable = "drop"
) -> LabelBudget:
    """The volumes of ``train`` whose patients are drawn; ``share`` is above 0 and at most 1.

    ``actionable`` decides who counts as abnormal, as in `dbtssl.data.splits.patient_split.split_patients`.
    """
    abnormal = abnormal_patients(cohort, train, actionable)
    normal = {cohort[i].patient for i in train} - abnormal
    groups = [_first(group, share, seed) for group in (abnormal, normal)]
    drawn = groups[0] | groups[1]
    volumes = tuple(i for i in train if cohort[i].patient in drawn)
    whole = len(volumes) == len(train)
    ids = "" if whole else digest(sorted(cohort[i].id for i in volumes))
    return LabelBudget(volumes, ids, len(groups[0]), len(groups[1]))


def fewer_normals(cohort: Cohort, volumes: Sequence[int], share: Fraction) -> tuple[int, ...]:
    """All benign and cancer volumes of ``volumes`` and ``share`` of the others, rounded up, in their order.

    A hash of the volume decides, so it is the same for every seed and method, as the released SIFT-DBT lists are.
    """
    normal = [i for i in volumes if cohort[i].label < Label.BENIGN]
    order = sorted(
        normal, key=lambda i: hashlib.sha256(f"normals/{cohort[i].id}".encode()).digest()
    )
    left_out = set(order[math.ceil(share * len(order)) :])
    return tuple(i for i in volumes if i not in left_out)


def patients_of(share: float, n: int) -> int:
    """ceil(share * n), where 0.1 * 30 is 3 and not what binary fractions make of it; at least 1 of any patients."""
    return max(min(n, 1), math.ceil(round(share * n, 9)))


def _first(patients: Iterable[str], share: float, seed: int) -> set[str]:
    order = sorted(patients, key=lambda p: hashlib.sha256(f"labels/{seed}/{p}".encode()).digest())
    return set(order[: patients_of(share, len(order))])
