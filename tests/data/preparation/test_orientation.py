from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from dbtssl.data.preparation.prepare_volume import is_rotated, middle_slices, rotate, stored_side


@pytest.mark.parametrize("side", ["l", "r"])
def test_the_chest_wall_tells_the_side(side, make_breast):
    frames, _ = make_breast(side)
    assert stored_side(frames) == side
    assert not is_rotated(frames, side)
    assert is_rotated(rotate(frames), side)
    assert stored_side(frames[0]) == side


def test_rotation_is_by_half_a_turn_and_leaves_the_order_of_slices():
    frames = np.arange(12).reshape(2, 2, 3)
    assert rotate(frames).tolist() == [[[5, 4, 3], [2, 1, 0]], [[11, 10, 9], [8, 7, 6]]]
    assert (rotate(rotate(frames)) == frames).all()


def test_equal_edges_count_as_left():
    """As in the official reader."""
    assert stored_side(np.ones((4, 5))) == "l"


def test_sums_do_not_overflow():
    frames = np.zeros((3, 2000, 4), dtype=np.uint16)
    frames[..., 0], frames[..., -1] = 60_000, 60_001
    assert stored_side(frames) == "r"


@pytest.mark.parametrize(
    ("n", "expected"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (4, [0, 1, 2]), (71, [34, 35, 36])]
)
def test_middle_slices(n, expected):
    assert list(middle_slices(n)) == expected


def test_real_slices_agree_with_their_manifest(real):
    """20 slices as the official reader turned them; ``edge_laterality`` was found by its rule."""
    with (real / "slices" / "manifest.csv").open(newline="") as f:
        rows = list(csv.DictReader(f))
    known = [row for row in rows if row["edge_laterality"]]
    assert len(known) == 20
    for row in known:
        with Image.open(real / "slices" / row["file"]) as image:
            side = stored_side(np.asarray(image.convert("L")))
        assert side == row["edge_laterality"].lower()
        assert not row["View"] or side == row["View"][0]
