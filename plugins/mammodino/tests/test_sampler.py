from __future__ import annotations

from collections import Counter
from math import sqrt

import numpy as np
import pytest
from dbtssl_mammodino.sampler import AdjacentSlices
from pydantic import ValidationError
from scipy import stats

from dbtssl.api import Cohort, Label, SliceRef, Volume

N = 4000
COHORT = Cohort(
    [Volume("P1", "S1", v, n, 10, 10, Label.NORMAL) for v, n in (("lcc", 20), ("lmlo", 2))]
    + [Volume("P2", "S1", "lcc", 1, 10, 10, Label.NORMAL)]
)


def draw(anchor, reach=4, n=N):
    sampler, rng = AdjacentSlices(AdjacentSlices.Config(reach=reach)), np.random.default_rng(0)
    return [sampler.positive(anchor, COHORT, rng) for _ in range(n)]


@pytest.mark.parametrize("reach", [1, 3, 4, 50])
@pytest.mark.parametrize("z", [0, 1, 10, 18, 19])
def test_each_other_slice_within_reach_is_equally_likely(z, reach):
    drawn = draw(SliceRef(0, z), reach)
    assert {ref.volume for ref in drawn} == {0}
    counts = Counter(ref.z for ref in drawn)
    expected = set(range(20)) & set(range(z - reach, z + reach + 1)) - {z}
    assert set(counts) == expected
    p = 1 / len(expected)
    if p < 1:
        assert stats.chisquare(list(counts.values())).pvalue > 0.0027
        above = sum(k for at, k in counts.items() if at > z)
        q = sum(at > z for at in expected) * p
        assert abs(above - N * q) <= 3 * sqrt(N * q * (1 - q))


def test_of_two_slices_the_other_is_drawn():
    for z in (0, 1):
        assert set(draw(SliceRef(1, z), n=50)) == {SliceRef(1, 1 - z)}


def test_the_only_slice_of_a_volume_is_its_own_partner_and_told_of():
    assert set(draw(SliceRef(2, 0), n=50)) == {SliceRef(2, 0)}
    found = [
        AdjacentSlices(AdjacentSlices.Config(reach=4)).has_partner(at, COHORT) for at in range(3)
    ]
    assert found == [True, True, False]


def test_the_default_reach_is_that_of_sift_dbt():
    assert AdjacentSlices.Config().reach == 4


@pytest.mark.parametrize("wrong", [{"reach": 0}, {"reach": -1}, {"delta": 2}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        AdjacentSlices.Config(**wrong)
