from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from dbtssl.data.records import Box, Label, Rect
from dbtssl.errors import ConfigError
from dbtssl.patches.patch_rule import (
    PatchRule,
    fixed_corners,
    grid_corners,
    lesion_corner,
    lesion_corners,
    oracle_corners,
    places,
    random_corner,
    tissue_in_patches,
)


def brute_force(size, tissue):
    """Tissue in the patch at each corner, patch by patch, on the padded mask."""
    rows, columns = tissue.shape
    padded = np.pad(tissue, ((0, max(0, size - rows)), (0, max(0, size - columns))))
    shape = (padded.shape[0] - size + 1, padded.shape[1] - size + 1)
    out = np.zeros(shape, dtype=int)
    for y, x in np.ndindex(shape):
        out[y, x] = padded[y : y + size, x : x + size].sum()
    return out


@pytest.mark.parametrize("shape", [(23, 31), (31, 23), (8, 31), (5, 31), (31, 5), (5, 6), (8, 8)])
@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
def test_tissue_in_patches_is_exact(shape, share):
    tissue = np.random.default_rng(1).random(shape) < share
    np.testing.assert_array_equal(tissue_in_patches(8, tissue), brute_force(8, tissue))


@pytest.mark.parametrize("min_tissue", [0.0, 0.01, 0.07, 0.25, 0.5, 1.0])
def test_places_are_exactly_the_corners_that_keep_the_tissue_rule(min_tissue):
    tissue = np.zeros((40, 30), dtype=bool)
    tissue[5:25, :14] = True
    tissue[30:33, 20:22] = True
    rule = PatchRule(10, min_tissue)
    where = places(rule, tissue)
    expected = np.argwhere(brute_force(10, tissue) / 100 >= min_tissue)
    np.testing.assert_array_equal(where.corners(np.arange(len(where))), expected)


def test_the_least_share_itself_is_enough():
    assert PatchRule(10, 0.07).least == 7  # 0.07 * 100 is 7.000000000000001 in floating point
    assert PatchRule(10, 0.29).least == 29  # and 0.29 * 100 is 28.999999999999996
    assert PatchRule(10, 0.071).least == 8


def test_without_a_valid_corner_the_one_with_most_tissue_is_taken():
    tissue = np.zeros((40, 30), dtype=bool)
    tissue[20:22, 12:15] = True
    tissue[0, 0] = True
    where = places(PatchRule(8, 0.5), tissue)
    assert len(where) == 1
    ((y, x),) = where.corners(np.array([0]))
    assert tissue[y : y + 8, x : x + 8].sum() == 6


def test_fixed_corners_depend_on_seed_volume_slice_and_patch_number_alone():
    where = places(PatchRule(8), np.ones((50, 60), dtype=bool))
    twenty = fixed_corners(where, "a", 3, 20, seed=0)
    for n in (1, 5, 19):
        np.testing.assert_array_equal(fixed_corners(where, "a", 3, n, seed=0), twenty[:n])
    for other in (("a", 3, 1), ("a", 4, 0), ("b", 3, 0)):
        assert (fixed_corners(where, *other[:2], 20, other[2]) != twenty).any()


def test_fixed_corners_are_a_pinned_function():
    """A change of the numbers below moves every published prediction: raise the predict stage's version with it."""
    where = places(PatchRule(8), np.ones((50, 60), dtype=bool))
    corners = fixed_corners(where, "DBT-P00001_DBT-S00001_lcc", 7, 3, seed=0)
    # 43 x 53 corners; the hashes are those of coreutils: printf 0/DBT-P00001_DBT-S00001_lcc/7/0 | b2sum -l 64
    assert corners.tolist() == [[4, 1], [31, 0], [25, 17]]


def test_fixed_corners_are_uniform_over_the_allowed_ones():
    tissue = np.zeros((14, 13), dtype=bool)
    tissue[2:6, 1:5] = True
    where = places(PatchRule(8, 0.05), tissue)
    drawn = fixed_corners(where, "a", 0, 200 * len(where), seed=0)
    counts = Counter(map(tuple, drawn.tolist()))
    assert set(counts) == set(map(tuple, where.corners(np.arange(len(where))).tolist()))
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_random_corner_keeps_the_rule():
    tissue = np.zeros((40, 30), dtype=bool)
    tissue[:, :6] = True
    rule = PatchRule(8, 0.5)
    where, rng = places(rule, tissue), np.random.default_rng(0)
    drawn = {random_corner(where, rng) for _ in range(500)}
    assert {x for _, x in drawn} == {0, 1, 2}
    assert all(tissue[y : y + 8, x : x + 8].sum() >= rule.least for y, x in drawn)


def box(x, y, width, height, z=0):
    return Box(z, x, y, width, height, Label.CANCER)


@pytest.mark.parametrize(
    "lesion",
    [
        box(20, 30, 5, 7),
        box(20.4, 30.6, 5.3, 7.9),
        box(0, 0, 4, 4),  # top-left corner of the slice
        box(76, 95, 4, 5),  # bottom-right corner
        box(20, 30, 16, 16),  # as large as the patch
        box(20.5, 30.5, 15, 15),  # covers 16 pixels
    ],
)
def test_lesion_patches_contain_the_whole_box_and_are_all_that_do(lesion):
    rows, columns, size = 100, 80, 16
    corners = lesion_corners(size, lesion, (rows, columns))
    containing = [
        (y, x)
        for y in range(rows - size + 1)
        for x in range(columns - size + 1)
        if y <= lesion.y
        and y + size >= lesion.y + lesion.height
        and x <= lesion.x
        and x + size >= lesion.x + lesion.width
    ]
    assert containing[0] == (corners.y0, corners.x0)
    assert containing[-1] == (corners.y1 - 1, corners.x1 - 1)
    assert len(containing) == (corners.y1 - corners.y0) * (corners.x1 - corners.x0)


def test_a_patch_of_a_larger_box_lies_within_it():
    assert lesion_corners(16, box(10, 20, 30, 40), (100, 80)) == Rect(20, 10, 45, 25)
    # longer along the rows only
    assert lesion_corners(16, box(10, 20, 6, 40), (100, 80)) == Rect(20, 0, 45, 11)


@pytest.mark.parametrize(
    "lesion", [box(-5, -5, 20, 20), box(70, 90, 30, 30), box(200, 200, 5, 5), box(-30, 40, 4, 4)]
)
def test_a_box_that_leaves_the_slice_gives_patches_inside_it(lesion):
    corners = lesion_corners(16, lesion, (100, 80))
    assert 0 <= corners.y0 < corners.y1 <= 100 - 16 + 1
    assert 0 <= corners.x0 < corners.x1 <= 80 - 16 + 1


def test_a_slice_smaller_than_the_patch_has_one_corner():
    assert lesion_corners(16, box(2, 2, 3, 3), (10, 12)) == Rect(0, 0, 1, 1)
    where = places(PatchRule(16), np.ones((10, 12), dtype=bool))
    assert where.corners(np.arange(len(where))).tolist() == [[0, 0]]


def test_the_box_of_the_nearest_annotated_slice_is_taken():
    boxes = [box(0, 0, 4, 4, z=2), box(60, 80, 4, 4, z=9), box(60, 0, 4, 4, z=9)]
    rng = np.random.default_rng(0)

    def hit(z):
        out = set()
        for _ in range(50):
            y, x = lesion_corner(16, boxes, z, (100, 80), rng)
            held = [
                i
                for i, b in enumerate(boxes)
                if y <= b.y and b.y + 4 <= y + 16 and x <= b.x and b.x + 4 <= x + 16
            ]
            out.update(held)
        return out

    assert hit(0) == hit(5) == {0}
    assert hit(6) == hit(12) == {1, 2}  # two boxes on the nearest annotated slice: either


@pytest.mark.parametrize("args", [(0,), (8, -0.1), (8, 1.1)])
def test_an_impossible_rule_is_refused(args):
    with pytest.raises(ConfigError, match="expected"):
        PatchRule(*args)


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(61, 47), (20, 20), (11, 90), (7, 7)])
def test_every_pixel_of_tissue_lies_in_a_patch_of_the_lattice(shape, overlap):
    rng = np.random.default_rng(0)
    for size in (8, 16):
        for share in (0.001, 0.02, 0.4, 1.0):
            tissue = rng.random(shape) < share
            tissue[shape[0] // 2, shape[1] // 3] = True
            covered = np.zeros(shape, dtype=bool)
            corners = grid_corners(size, tissue, overlap)
            for y, x in corners:
                assert 0 <= y <= max(0, shape[0] - size)
                assert 0 <= x <= max(0, shape[1] - size)
                patch = np.s_[y : y + size, x : x + size]
                assert tissue[patch].any(), "a patch without tissue"
                covered[patch] = True
            assert covered[tissue].all()
            assert len({tuple(c) for c in corners.tolist()}) == len(corners)


def test_neighbours_on_the_lattice_overlap_by_the_share_asked_for():
    tissue = np.ones((100, 60), dtype=bool)
    corners = grid_corners(20, tissue, 0.5)
    assert sorted(set(corners[:, 0].tolist())) == list(range(0, 81, 10))
    assert sorted(set(corners[:, 1].tolist())) == [0, 10, 20, 30, 40]
    assert len(grid_corners(20, tissue, 0.0)) == 15
    # steps are even, so that they need not be as large as they may
    assert np.diff(sorted(set(grid_corners(20, tissue[:73], 0.0)[:, 0].tolist()))).max() <= 20


def test_no_tissue_gives_one_patch():
    assert grid_corners(8, np.zeros((30, 20), dtype=bool), 0.5).tolist() == [[0, 0]]


def test_oracle_patches_hold_the_whole_box_of_the_nearest_annotated_slice():
    boxes = [
        Box(3, 10.0, 20.0, 6.0, 4.0, Label.CANCER),
        Box(9, 40.0, 50.0, 5.0, 5.0, Label.CANCER),
        Box(9, 12.0, 60.0, 5.0, 5.0, Label.CANCER),
    ]
    for z, own in ((0, boxes[:1]), (5, boxes[:1]), (8, boxes[1:])):
        corners = oracle_corners(24, boxes, "v", z, (90, 70), 200, 0)
        held = [
            [
                y <= b.y and b.y + b.height <= y + 24 and x <= b.x and b.x + b.width <= x + 24
                for b in own
            ]
            for y, x in corners
        ]
        assert all(any(h) for h in held)
        assert np.array(held).any(axis=0).all(), "each of several is taken"


def test_oracle_places_depend_on_seed_volume_slice_and_number_alone():
    boxes = [Box(3, 10.0, 20.0, 6.0, 4.0, Label.CANCER)]

    def places(**changes):
        given = {"volume_id": "v", "z": 3, "count": 6, "seed": 0} | changes
        return oracle_corners(24, boxes, shape=(90, 70), **given).tolist()

    assert places() == places()
    assert places(count=3) == places()[:3]
    for change in ({"volume_id": "w"}, {"z": 4}, {"seed": 1}):
        assert places(**change) != places()


def test_oracle_places_are_uniform():
    """A box of 4 in a patch of 8 has 5 x 5 places."""
    boxes = [Box(0, 20.0, 20.0, 4.0, 4.0, Label.CANCER)]
    corners = oracle_corners(8, boxes, "v", 0, (60, 60), 5000, 0)
    counts = Counter(map(tuple, corners.tolist()))
    assert set(counts) == {(y, x) for y in range(16, 21) for x in range(16, 21)}
    assert chisquare(list(counts.values())).pvalue > 1e-3
