from __future__ import annotations

import csv
from collections import Counter
from itertools import product
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from dbtssl_medaug.sampler import InterSlice, MedAug
from pydantic import ValidationError
from scipy import stats

from dbtssl.api import Cohort, Label, SliceRef, Volume
from dbtssl.plugins import registry

N = 4000
RULES = ("same", "different", "any")
LISTS = Path(__file__).parents[4] / "shared" / "data" / "bcs-dbt" / "sift_dbt_lists" / "csv"


def volume(patient: str, study: str, view: str, n: int) -> Volume:
    return Volume(patient, study, view, n, 10, 10, Label.NORMAL)


# a whole study with a repeated MLO, two studies of the patient with views missing, another patient whose study has
# the same name and one view, and a patient with a volume of one slice
COHORT = Cohort(
    [
        volume("P1", "S1", "lcc", 20),  # 0
        volume("P1", "S1", "lmlo", 12),  # 1
        volume("P1", "S1", "lmlo1", 6),  # 2
        volume("P1", "S1", "rcc", 20),  # 3
        volume("P1", "S1", "rmlo", 9),  # 4
        volume("P1", "S2", "lcc", 20),  # 5
        volume("P1", "S2", "rmlo", 15),  # 6
        volume("P1", "S3", "rcc", 7),  # 7
        volume("P2", "S1", "rmlo", 20),  # 8
        volume("P3", "S1", "lcc", 1),  # 9
        volume("P3", "S1", "lmlo", 5),  # 10
    ]
)
# (study, side) -> partners of volume 0, of volume 7 and of volume 9
PARTNERS = {
    ("same", "same"): ({1, 2}, set(), {10}),
    ("same", "different"): ({3, 4}, set(), set()),
    ("same", "any"): ({1, 2, 3, 4}, set(), {10}),
    ("different", "same"): ({5}, {3, 4, 6}, set()),
    ("different", "different"): ({6, 7}, {0, 1, 2, 5}, set()),
    ("different", "any"): ({5, 6, 7}, {0, 1, 2, 3, 4, 5, 6}, set()),
    ("any", "same"): ({1, 2, 5}, {3, 4, 6}, {10}),
    ("any", "different"): ({3, 4, 6, 7}, {0, 1, 2, 5}, set()),
    ("any", "any"): ({1, 2, 3, 4, 5, 6, 7}, {0, 1, 2, 3, 4, 5, 6}, {10}),
}


def build(cls, **settings):
    return cls(cls.Config(**settings))


def draw(cls, anchor: SliceRef, n: int = N, **settings: object) -> list[SliceRef]:
    sampler, rng = build(cls, **settings), np.random.default_rng(0)
    return [sampler.positive(anchor, COHORT, rng) for _ in range(n)]


def within_three_sigma(count: int, n: int, p: float) -> bool:
    return abs(count - n * p) <= 3 * sqrt(n * p * (1 - p))


def uniform_over(values: list[int], expected: range) -> bool:
    counts = Counter(values)
    return set(counts) == set(expected) and (
        len(expected) == 1 or stats.chisquare([counts[z] for z in expected]).pvalue > 0.0027
    )


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
def test_inter_slice_is_uniform_within_reach(z, half_open, expected):
    drawn = draw(InterSlice, SliceRef(3, z), half_open=half_open)
    assert {ref.volume for ref in drawn} == {3}
    assert uniform_over([ref.z for ref in drawn], expected)
    itself = sum(ref.z == z for ref in drawn)
    assert within_three_sigma(itself, N, 1 / len(expected))


@pytest.mark.parametrize("reach", [0, 1, 4, 50])
@pytest.mark.parametrize("anchor", range(len(COHORT)))
def test_inter_slice_never_leaves_the_volume_or_the_reach(anchor, reach):
    n = COHORT[anchor].n_slices
    for z in (0, n // 2, n - 1):
        drawn = draw(InterSlice, SliceRef(anchor, z), n=400, reach=reach)
        assert {ref.volume for ref in drawn} == {anchor}
        assert {ref.z for ref in drawn} == set(range(n)) & set(range(z - reach, z + reach + 1))


def test_inter_slice_in_a_volume_of_one_slice_is_the_anchor():
    anchor = SliceRef(9, 0)
    assert set(draw(InterSlice, anchor, n=50)) == {anchor}


@pytest.mark.parametrize("rule", PARTNERS, ids="-".join)
def test_medaug_draws_each_volume_that_fits_equally_often(rule):
    study, side = rule
    for anchor, expected in zip((0, 7, 9), PARTNERS[rule], strict=True):
        drawn = draw(MedAug, SliceRef(anchor, 0), study=study, side=side, itself=False)
        counts = Counter(ref.volume for ref in drawn)
        assert set(counts) == expected or (not expected and set(counts) == {anchor})
        assert all(within_three_sigma(k, N, 1 / len(counts)) for k in counts.values()), counts
        sampler = build(MedAug, study=study, side=side)
        assert set(sampler.candidates(anchor, COHORT)) == expected
        assert sampler.has_partner(anchor, COHORT) == bool(expected)


def test_medaug_draws_every_slice_of_a_volume_equally_often():
    drawn = draw(MedAug, SliceRef(0, 19), itself=False)
    for other in (1, 2, 3, 4):
        z = [ref.z for ref in drawn if ref.volume == other]
        assert uniform_over(z, range(COHORT[other].n_slices))


@pytest.mark.parametrize("rule", PARTNERS, ids="-".join)
def test_the_query_itself_is_one_of_the_candidates_where_it_fits(rule):
    study, side = rule
    anchor = SliceRef(0, 3)
    drawn = draw(MedAug, anchor, study=study, side=side)
    others = PARTNERS[rule][0]
    p = 0 if "different" in rule else 1 / (len(others) + 1)
    assert within_three_sigma(sum(ref == anchor for ref in drawn), N, p)
    assert {ref.volume for ref in drawn if ref != anchor} == others


@pytest.mark.parametrize("itself", [False, True])
@pytest.mark.parametrize(
    ("anchor", "rule"),
    [(SliceRef(7, 3), "same"), (SliceRef(8, 11), "any"), (SliceRef(9, 0), "different")],
)
def test_without_a_partner_the_positive_is_the_anchor(anchor, rule, itself):
    assert set(draw(MedAug, anchor, n=200, study=rule, itself=itself)) == {anchor}
    assert not build(MedAug, study=rule, itself=itself).has_partner(anchor.volume, COHORT)


@pytest.mark.parametrize("itself", [False, True])
def test_without_a_partner_and_with_reach_the_positive_is_near(itself):
    drawn = draw(MedAug, SliceRef(8, 10), reach=4, itself=itself)
    assert {ref.volume for ref in drawn} == {8}
    assert uniform_over([ref.z for ref in drawn], range(6, 15))
    drawn = draw(MedAug, SliceRef(8, 10), reach=4, itself=itself, half_open=True)
    assert uniform_over([ref.z for ref in drawn], range(6, 14))


@pytest.mark.parametrize("p_partner", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("study", ["same", "any"])
def test_the_baseline_of_sift_dbt_is_half_another_volume_and_half_near(p_partner, study):
    settings = {"study": study, "itself": False, "p_partner": p_partner, "reach": 4}
    drawn = draw(MedAug, SliceRef(3, 10), **settings)
    others = Counter(ref.volume for ref in drawn if ref.volume != 3)
    assert within_three_sigma(sum(others.values()), N, p_partner)
    expected = {0, 1, 2, 4} if study == "same" else {0, 1, 2, 4, 5, 6, 7}
    assert set(others) == (expected if p_partner else set())
    assert all(within_three_sigma(k, N, p_partner / len(expected)) for k in others.values())
    if p_partner < 1:
        assert uniform_over([ref.z for ref in drawn if ref.volume == 3], range(6, 15))


@pytest.fixture(scope="module")
def crowd():
    """Sixty patients of one to three studies with names in common; a view in three is missing, some are repeated."""
    rng = np.random.default_rng(7)
    views = ("lcc", "lmlo", "rcc", "rmlo", "lmlo1", "rcc1")
    found = [
        volume(f"P{p}", f"S{s}", view, int(rng.integers(1, 30)))
        for p in range(60)
        for s in range(int(rng.integers(1, 4)))
        for view in views
        if rng.random() < (0.67 if view[-1] != "1" else 0.1)
    ]
    return Cohort([found[i] for i in rng.permutation(len(found))])


@pytest.mark.parametrize("name", registry().names("sampler"))
def test_no_sampler_ever_draws_another_patient_or_a_slice_that_is_not_there(crowd, name):
    sampler = registry().build("sampler", name, {})
    rng = np.random.default_rng(1)
    for at, own in enumerate(crowd):
        for _ in range(10):
            ref = sampler.positive(SliceRef(at, int(rng.integers(own.n_slices))), crowd, rng)
            assert crowd[ref.volume].patient == own.patient
            assert 0 <= ref.z < crowd[ref.volume].n_slices


@pytest.mark.parametrize("itself", [False, True])
@pytest.mark.parametrize(("study", "side"), list(product(RULES, RULES)))
def test_medaug_keeps_its_rule_in_a_crowd(crowd, study, side, itself):
    sampler = build(MedAug, study=study, side=side, itself=itself)
    rng = np.random.default_rng(2)
    lonely = 0
    for at, own in enumerate(crowd):
        anchor = SliceRef(at, 0)
        drawn = [sampler.positive(anchor, crowd, rng) for _ in range(10)]
        if not sampler.has_partner(at, crowd):
            lonely += 1
            assert set(drawn) == {anchor}
        for ref in set(drawn) - {anchor}:
            found = crowd[ref.volume]
            assert found.patient == own.patient
            assert ref.volume != at
            assert study == "any" or (found.study == own.study) == (study == "same")
            assert side == "any" or (found.side == own.side) == (side == "same")
    assert lonely < len(crowd)
    assert lonely or (study, side) == ("any", "any")


@pytest.mark.skipif(not LISTS.is_dir(), reason="the tables of BCS-DBT lie outside the project")
def test_partners_on_the_split_of_sift_dbt_are_those_that_were_counted():
    """Counts of the released lists: 13,319 volumes, 2,492 with another study of the patient."""

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
    assert len(cohort) == 13_319
    other_study = build(MedAug, study="different")
    assert sum(other_study.has_partner(i, cohort) for i in range(len(cohort))) == 2_492


def first_draws(cls, **changes):
    settings = {"itself": False, "p_partner": 0.5, "reach": 4} if cls is MedAug else {}
    return [
        draw(cls, anchor, n=30, **settings | changes) for anchor in (SliceRef(0, 5), SliceRef(7, 3))
    ]


@pytest.mark.parametrize(
    ("cls", "change"),
    [
        (InterSlice, {"reach": 5}),
        (InterSlice, {"half_open": True}),
        (MedAug, {"study": "any"}),
        (MedAug, {"side": "same"}),
        (MedAug, {"itself": True}),
        (MedAug, {"p_partner": 0.6}),
        (MedAug, {"reach": 5}),
        (MedAug, {"half_open": True}),
    ],
)
def test_every_setting_changes_what_is_drawn(cls, change):
    assert first_draws(cls) == first_draws(cls)
    assert first_draws(cls) != first_draws(cls, **change)


def test_no_setting_is_left_out_above():
    assert set(InterSlice.Config.model_fields) == {"reach", "half_open"}
    keys = {"study", "side", "itself", "p_partner", "reach", "half_open"}
    assert set(MedAug.Config.model_fields) == keys


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (InterSlice, {"reach": -1}),
        (InterSlice, {"delta": 4}),
        (MedAug, {"study": "other"}),
        (MedAug, {"side": "left"}),
        (MedAug, {"p_partner": 1.1}),
        (MedAug, {"p_partner": -0.1}),
        (MedAug, {"reach": -1}),
        (MedAug, {"p_view": 0.5}),
    ],
)
def test_wrong_settings_are_refused(cls, wrong):
    with pytest.raises(ValidationError):
        cls.Config(**wrong)
