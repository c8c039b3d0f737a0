from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from dbtssl_sift_dbt.sampler import MetadataPairs, matched
from pydantic import ValidationError
from scipy import stats

from dbtssl.api import Cohort, Label, SliceRef, Volume, neighbours
from dbtssl.training.pretraining.pairs import no_partner

N = 4000
LISTS = Path(__file__).parents[4] / "shared" / "data" / "bcs-dbt" / "sift_dbt_lists" / "csv"


def volume(patient: str, study: str, view: str, n: int) -> Volume:
    return Volume(patient, study, view, n, 10, 10, Label.NORMAL)


# a whole study with a repeated MLO, a second study of the patient, a breast without CC, another patient
COHORT = Cohort(
    [
        volume("P1", "S1", "lcc", 20),  # 0
        volume("P1", "S1", "lmlo", 12),  # 1
        volume("P1", "S1", "lmlo1", 6),  # 2
        volume("P1", "S1", "rcc", 20),  # 3
        volume("P1", "S1", "rmlo", 20),  # 4
        volume("P1", "S2", "lcc", 20),  # 5
        volume("P1", "S2", "lmlo", 20),  # 6
        volume("P2", "S1", "rmlo", 20),  # 7
    ]
)


def draw(anchor: SliceRef, n: int = N, **settings: object) -> list[SliceRef]:
    sampler, rng = MetadataPairs(MetadataPairs.Config(**settings)), np.random.default_rng(0)
    return [sampler.positive(anchor, COHORT, rng) for _ in range(n)]


def uniform_over(values: list[int], expected: range) -> bool:
    counts = Counter(values)
    return set(counts) == set(expected) and (
        stats.chisquare([counts[z] for z in expected]).pvalue > 1e-3
    )


@pytest.mark.parametrize("p_view", [0.0, 0.3, 0.5, 1.0])
def test_the_other_view_comes_as_often_as_asked(p_view):
    drawn = draw(SliceRef(3, 10), p_view=p_view)
    others = sum(ref.volume == 4 for ref in drawn)
    assert stats.binomtest(others, N, p_view).pvalue > 1e-3
    assert {ref.volume for ref in drawn} <= {3, 4}


def test_the_other_views_slices_are_uniform_whatever_the_depth():
    drawn = draw(SliceRef(0, 19), p_view=1.0)
    assert {ref.volume for ref in drawn} == {1, 2}
    assert abs(np.mean([ref.volume == 1 for ref in drawn]) - 0.5) < 0.04  # repeats count alike
    assert uniform_over([ref.z for ref in drawn if ref.volume == 1], range(12))
    assert uniform_over([ref.z for ref in drawn if ref.volume == 2], range(6))


@pytest.mark.parametrize(
    ("z", "half_open", "expected"),
    [
        (10, False, range(6, 15)),
        (10, True, range(6, 14)),
        (1, False, range(6)),
        (1, True, range(5)),
        (18, False, range(14, 20)),
        (19, True, range(15, 20)),
    ],
)
def test_near_slices_are_uniform_within_reach(z, half_open, expected):
    drawn = draw(SliceRef(3, z), p_view=0.0, half_open=half_open)
    assert {ref.volume for ref in drawn} == {3}
    assert uniform_over([ref.z for ref in drawn], expected)
    assert neighbours(SliceRef(3, z), 4, COHORT, half_open=half_open) == expected


def test_without_another_view_the_positive_is_near():
    drawn = draw(SliceRef(7, 10), p_view=1.0)
    assert {ref.volume for ref in drawn} == {7}
    assert uniform_over([ref.z for ref in drawn], range(6, 15))


@pytest.mark.parametrize(
    ("z", "of", "partner"),  # volumes 0, 1 and 2 have 20, 12 and 6 slices
    [
        (0, 1, 0),
        (9, 1, 5),  # 0.475 of the depth is slice 5.7 of 12
        (10, 1, 6),
        (19, 1, 11),
        (0, 2, 0),
        (19, 2, 5),
        (3, 2, 1),  # 0.175 is 1.05 of 6
    ],
)
def test_matched_is_the_slice_at_the_same_relative_depth(z, of, partner):
    assert matched(SliceRef(0, z), of, COHORT) == partner
    drawn = draw(SliceRef(0, z), p_view=1.0, depth="matched", n=100)
    assert partner in {ref.z for ref in drawn if ref.volume == of}
    assert len({ref.z for ref in drawn if ref.volume == of}) == 1


@pytest.mark.parametrize("n", [1, 2, 7, 20])
@pytest.mark.parametrize("other", [1, 3, 20, 61])
def test_matched_keeps_order_and_ends_and_never_leaves_the_volume(n, other):
    cohort = Cohort([volume("P", "S", "lcc", n), volume("P", "S", "lmlo", other)])
    partners = [matched(SliceRef(0, z), 1, cohort) for z in range(n)]
    assert partners == sorted(partners)
    assert 0 <= partners[0] <= partners[-1] < other
    if n == other:
        assert partners == list(range(n))
    for z, partner in enumerate(partners):
        assert abs((z + 0.5) / n - (partner + 0.5) / other) <= 0.5 / other + 1e-12


def test_depth_changes_neither_how_often_nor_the_near_slices():
    drawn = draw(SliceRef(3, 10), depth="matched")
    assert abs(sum(ref.volume == 4 for ref in drawn) - N / 2) <= 3 * np.sqrt(N / 4)
    assert {ref.z for ref in drawn if ref.volume == 4} == {10}
    assert uniform_over([ref.z for ref in drawn if ref.volume == 3], range(6, 15))


def test_a_partner_is_another_view_of_the_breast_in_the_study():
    sampler = MetadataPairs(MetadataPairs.Config())
    found = [sampler.has_partner(i, COHORT) for i in range(len(COHORT))]
    assert found == [True] * 7 + [False]
    assert no_partner(sampler, COHORT) == {"no_partner": 1 / 8}  # what the log tells


@pytest.mark.skipif(not LISTS.is_dir(), reason="the tables of BCS-DBT lie outside the project")
def test_partners_on_the_split_of_sift_dbt_are_those_that_were_counted():
    """Of 13,319 volumes 13,301 have another view by the released rule, for which a repeat (rmlo1) is no partner."""

    def read(name):
        with (LISTS / name).open(encoding="utf-8") as file:
            return list(csv.DictReader(file))

    held_out = {
        row["PatientID"] for part in ("val", "test") for row in read(f"BCS-DBT_{part}_label_v2.csv")
    }
    cohort = Cohort(
        volume(row["PatientID"], row["StudyUID"], row["View"], 1)
        for row in read("BCS-DBT labels-train-v2.csv")
        if row["PatientID"] not in held_out
    )
    sampler = MetadataPairs(MetadataPairs.Config())
    ours = [i for i in range(len(cohort)) if sampler.has_partner(i, cohort)]
    first = [i for i in ours if any(cohort[k].view.isalpha() for k in cohort.other_projection(i))]
    assert (len(cohort), len(first)) == (13_319, 13_301)
    assert len(ours) == 13_305  # four whose only other view is called a repeat


@pytest.mark.parametrize("anchor", range(len(COHORT)))
def test_other_sides_and_other_studies_are_never_drawn(anchor):
    own = COHORT[anchor]
    for ref in draw(SliceRef(anchor, 3), n=300):
        drawn = COHORT[ref.volume]
        assert (drawn.patient, drawn.study, drawn.side) == (own.patient, own.study, own.side)
        assert ref.volume == anchor or drawn.projection != own.projection
        assert 0 <= ref.z < drawn.n_slices


@pytest.fixture(scope="module")
def crowd():
    """Forty patients of one to three studies with names in common; a view in three is missing, some are repeated."""
    rng = np.random.default_rng(5)
    found = [
        volume(f"P{p}", f"S{s}", view, int(rng.integers(1, 30)))
        for p in range(40)
        for s in range(int(rng.integers(1, 4)))
        for view in ("lcc", "lmlo", "rcc", "rmlo", "lmlo1", "rcc1")
        if rng.random() < (0.67 if view[-1] != "1" else 0.2)
    ]
    return Cohort([found[i] for i in rng.permutation(len(found))])


@pytest.mark.parametrize("depth", ["uniform", "matched"])
@pytest.mark.parametrize("half_open", [False, True])
@pytest.mark.parametrize("p_view", [0.3, 1.0])
def test_the_rule_holds_in_a_crowd(crowd, p_view, half_open, depth):
    """The other view as often as asked where there is one, else near; nothing else of the patient, and no one else."""
    settings = {"p_view": p_view, "half_open": half_open, "depth": depth}
    sampler = MetadataPairs(MetadataPairs.Config(**settings))
    rng, paired, crossed = np.random.default_rng(3), 0, 0
    for at, own in enumerate(crowd):
        others = [
            i
            for i, v in enumerate(crowd)
            if (v.patient, v.study, v.side) == (own.patient, own.study, own.side)
            and v.projection != own.projection
        ]
        assert sampler.has_partner(at, crowd) == bool(others)
        for _ in range(10):
            anchor = SliceRef(at, int(rng.integers(own.n_slices)))
            ref = sampler.positive(anchor, crowd, rng)
            assert ref.volume in (at, *others)
            if ref.volume != at:
                assert 0 <= ref.z < crowd[ref.volume].n_slices
                assert depth == "uniform" or ref.z == matched(anchor, ref.volume, crowd)
            else:
                assert ref.z in neighbours(anchor, 4, crowd, half_open=half_open)
            paired += bool(others)
            crossed += ref.volume != at
    assert abs(crossed - p_view * paired) <= 3 * np.sqrt(paired * p_view * (1 - p_view))
    assert 0 < paired < 10 * len(crowd)


@pytest.mark.parametrize("half_open", [False, True])
def test_reach_zero_is_the_anchor(half_open):
    anchor = SliceRef(3, 5)
    assert set(draw(anchor, n=50, p_view=0.0, reach=0, half_open=half_open)) == {anchor}


def test_the_generator_decides():
    assert draw(SliceRef(0, 3), n=50) == draw(SliceRef(0, 3), n=50)


@pytest.mark.parametrize(
    "wrong", [{"p_view": 1.1}, {"p_view": -0.1}, {"reach": -1}, {"delta": 4}, {"depth": "nearest"}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        MetadataPairs.Config(**wrong)
