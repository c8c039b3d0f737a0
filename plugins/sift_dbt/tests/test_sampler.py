from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from dbtssl_sift_dbt.sampler import MetadataPairs, neighbours
from pydantic import ValidationError
from scipy import stats

from dbtssl.api import Cohort, Label, SliceRef, Volume

N = 4000


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
    fields = MetadataPairs.Config(**settings).model_dump()
    sampler, rng = MetadataPairs(**fields), np.random.default_rng(0)
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


@pytest.mark.parametrize("anchor", range(len(COHORT)))
def test_other_sides_and_other_studies_are_never_drawn(anchor):
    own = COHORT[anchor]
    for ref in draw(SliceRef(anchor, 3), n=300):
        drawn = COHORT[ref.volume]
        assert (drawn.patient, drawn.study, drawn.side) == (own.patient, own.study, own.side)
        assert ref.volume == anchor or drawn.projection != own.projection
        assert 0 <= ref.z < drawn.n_slices


@pytest.mark.parametrize("half_open", [False, True])
def test_reach_zero_is_the_anchor(half_open):
    anchor = SliceRef(3, 5)
    assert set(draw(anchor, n=50, p_view=0.0, reach=0, half_open=half_open)) == {anchor}


def test_the_generator_decides():
    assert draw(SliceRef(0, 3), n=50) == draw(SliceRef(0, 3), n=50)


@pytest.mark.parametrize("wrong", [{"p_view": 1.1}, {"p_view": -0.1}, {"reach": -1}, {"delta": 4}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        MetadataPairs.Config(**wrong)
