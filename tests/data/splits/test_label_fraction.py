from __future__ import annotations

import hashlib
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from dbtssl.data.records import Cohort, Label, Volume
from dbtssl.data.splits.label_fraction import draw_labels, fewer_normals, patients_of

ABNORMAL, NORMAL = 9, 31
SHARES = (0.05, 0.1, 0.25, 0.5, 0.99)


def cohort(order=None) -> Cohort:
    """Every patient has two volumes; the first nine have a cancer in one of them, the tenth an actionable one."""
    volumes = []
    for p in range(ABNORMAL + NORMAL):
        label = Label.CANCER if p < ABNORMAL else Label.ACTIONABLE if p == 9 else Label.NORMAL
        for view, of_view in (("lcc", label), ("rcc", Label.NORMAL)):
            volumes.append(Volume(f"P{p:02d}", "S", view, 4, 8, 8, of_view))
    return Cohort([volumes[i] for i in order] if order is not None else volumes)


def drawn(share, seed=0, order=None, actionable="normal"):
    """The ids of the drawn volumes, and the budget."""
    volumes = cohort(order)
    budget = draw_labels(volumes, range(len(volumes)), share, seed, actionable)
    return {volumes[i].id for i in budget.volumes}, budget


@pytest.mark.parametrize("text", ["0.05", "0.1", "0.25", "0.29", "0.5", "0.57", "1"])
def test_a_share_of_patients_is_the_ceiling_of_exact_fractions(text):
    for n in range(500):
        assert patients_of(float(text), n) == -(-Fraction(text) * n // 1), n
    assert [patients_of(1e-12, n) for n in (0, 1, 500)] == [0, 1, 1]


def test_a_share_counts_abnormal_and_normal_patients_apart_with_all_their_volumes():
    for share, abnormal, normal in ((0.05, 1, 2), (0.1, 1, 4), (0.25, 3, 8), (0.5, 5, 16)):
        ids, budget = drawn(share)
        assert (budget.abnormal, budget.normal) == (abnormal, normal)
        patients = [name.split("_")[0] for name in ids]
        assert sum(int(p[1:]) < ABNORMAL for p in set(patients)) == abnormal
        assert len(set(patients)) == abnormal + normal
        assert len(patients) == 2 * len(set(patients))


def test_who_comes_first_is_told_by_a_hash_of_seed_and_patient():
    for seed in range(5):
        order = sorted(
            (f"P{p:02d}" for p in range(ABNORMAL)),
            key=lambda p: hashlib.sha256(f"labels/{seed}/{p}".encode()).hexdigest(),
        )
        ids, _ = drawn(0.2, seed)
        assert {i.split("_")[0] for i in ids if int(i[1:3]) < ABNORMAL} == set(order[:2])


def test_a_smaller_share_lies_within_a_larger_one():
    for seed in range(5):
        nested = [drawn(share, seed)[0] for share in (*SHARES, 1.0)]
        assert all(small <= large for small, large in pairwise(nested))


def test_seeds_draw_other_patients():
    assert len({frozenset(drawn(0.25, seed)[0]) for seed in range(8)}) == 8


def test_the_order_of_the_cohort_does_not_matter():
    order = np.random.default_rng(0).permutation(2 * (ABNORMAL + NORMAL))
    for share in SHARES:
        (ids, budget), (again, other) = drawn(share), drawn(share, order=order)
        assert (ids, budget.digest) == (again, other.digest)


def test_what_leaves_nobody_out_is_no_budget():
    for share in (1.0, 0.99):  # 0.99 of 9 and of 31 are all of them
        ids, budget = drawn(share)
        assert budget.digest == ""
        assert budget.volumes == tuple(range(2 * (ABNORMAL + NORMAL)))
        assert len(ids) == len(budget.volumes)
    assert drawn(0.5)[1].digest != ""


def test_the_protocol_says_who_is_abnormal():
    assert drawn(1.0, actionable="normal")[1].abnormal == ABNORMAL
    assert drawn(1.0, actionable="abnormal")[1].abnormal == ABNORMAL + 1


def test_a_class_that_is_not_there_gives_nobody():
    volumes = Cohort([v for v in cohort() if v.patient == "P00"])
    budget = draw_labels(volumes, range(2), 0.1, 0)
    assert (budget.abnormal, budget.normal, budget.volumes) == (1, 0, (0, 1))


@pytest.mark.parametrize(
    ("share", "kept"), [(Fraction(1, 4), 18), (Fraction(1), 71), (Fraction(0), 0)]
)
def test_fewer_normal_volumes_are_a_share_of_them_beside_all_abnormal_ones(share, kept):
    volumes = cohort()
    every = range(len(volumes))
    found = fewer_normals(volumes, every, share)
    abnormal = [i for i in every if volumes[i].label >= Label.BENIGN]
    assert set(abnormal) <= set(found)
    assert len(found) - len(abnormal) == kept  # of 80 - 9 volumes, rounded up
    assert list(found) == sorted(found)
    order = list(reversed(every))
    other = cohort(order)
    again = {other[i].id for i in fewer_normals(other, every, share)}
    assert again == {volumes[i].id for i in found}
