from __future__ import annotations

import pytest

from dbtssl.data.records import Cohort, Label, SliceRef, Volume, neighbours

COHORT = Cohort(
    [Volume("P", "S", view, n, 8, 8, Label.NORMAL) for view, n in (("lcc", 20), ("lmlo", 1))]
)


@pytest.mark.parametrize(
    ("z", "reach", "closed", "half_open"),
    [
        (10, 4, range(6, 15), range(6, 14)),  # SIFT-DBT: i-4..i+3, 8 slices
        (1, 4, range(6), range(5)),
        (18, 4, range(14, 20), range(14, 20)),
        (19, 4, range(15, 20), range(15, 20)),
        (5, 1, range(4, 7), range(4, 6)),
        (5, 0, range(5, 6), range(5, 6)),
        (5, 99, range(20), range(20)),
    ],
)
def test_slices_within_reach_are_cut_at_the_ends_and_hold_the_slice_itself(
    z, reach, closed, half_open
):
    ref = SliceRef(0, z)
    assert neighbours(ref, reach, COHORT) == closed
    assert neighbours(ref, reach, COHORT, half_open=True) == half_open
    assert z in closed
    assert z in half_open


@pytest.mark.parametrize("half_open", [False, True])
def test_a_volume_of_one_slice_has_that_slice(half_open):
    assert neighbours(SliceRef(1, 0), 4, COHORT, half_open=half_open) == range(1)
