from __future__ import annotations

import math

import numpy as np
import pytest

from dbtssl.data.prepared.prepared_dataset import write_dataset
from dbtssl.data.records import Label, Rect, SliceRef, Volume
from dbtssl.errors import ConfigError, PluginError
from dbtssl.interfaces import Crop, ViewSpec
from dbtssl.views.crops import (
    Place,
    bounds,
    check_views,
    cut,
    draw_place,
    draw_places,
    draw_rect,
)

ROWS, COLUMNS, BREAST = 96, 80, 40  # the breast is the left half


def volume(view: str) -> Volume:
    return Volume("P1", "S1", view, 3, ROWS, COLUMNS, Label.NORMAL)


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    """Two volumes whose grey level is a ramp over the columns; the second is half as large."""
    ramp = np.broadcast_to(np.linspace(0, 1023, COLUMNS), (3, ROWS, COLUMNS)).astype(np.uint16)
    tissue = np.zeros((ROWS, COLUMNS), dtype=np.bool_)
    tissue[:, :BREAST] = True
    small = (ramp[:, ::2, ::2].copy(), tissue[::2, ::2].copy())
    root = tmp_path_factory.mktemp("views")
    data = write_dataset(
        root, [volume("lcc"), volume("lmlo")], [ramp, small[0]], [tissue, small[1]]
    )
    return data.slices([0, 1])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A constant slice that is all tissue."""
    level = np.full((2, ROWS, COLUMNS), 600, dtype=np.uint16)
    return write_dataset(tmp_path_factory.mktemp("whole"), [volume("lcc")], [level]).slices([0])


def test_rectangles_have_the_asked_area_and_ratio(whole):
    rng = np.random.default_rng(0)
    crop = Crop(32, scale=(0.1, 0.3), ratio=(0.5, 2.0))
    rects = [draw_rect(crop, 0, whole, rng) for _ in range(2000)]
    heights = np.array([r.y1 - r.y0 for r in rects])
    widths = np.array([r.x1 - r.x0 for r in rects])
    area = heights * widths / (ROWS * COLUMNS)
    assert area.min() > 0.1 - 0.01
    assert area.max() < 0.3 + 0.01
    assert abs(area.mean() - 0.2) < 0.005  # uniform
    log_ratio = np.log(widths / heights)
    assert np.abs(log_ratio).max() < math.log(2.0) + 0.06
    assert abs(log_ratio.mean()) < 0.03  # log-uniform
    assert min(r.y0 for r in rects) == min(r.x0 for r in rects) == 0
    assert max(r.y1 for r in rects) == ROWS
    assert max(r.x1 for r in rects) == COLUMNS


def test_rectangles_stay_in_the_crop_box(slices):
    assert bounds(0, slices) == Rect(0, 0, ROWS, BREAST)
    rng = np.random.default_rng(0)
    for _ in range(200):
        rect = draw_rect(Crop(16, scale=(0.1, 1.0)), 0, slices, rng)
        assert 0 <= rect.y0 < rect.y1 <= ROWS
        assert 0 <= rect.x0 < rect.x1 <= BREAST


class Masked:
    """Slices with a mask of their own, to try the tissue rule where the crop box is no help."""

    def __init__(self, mask, record):
        self.mask, self.cohort = mask, [record]

    def tissue(self, at, rect):
        return self.mask[rect.y0 : rect.y1, rect.x0 : rect.x1]


def test_crops_obey_the_tissue_rule():
    mask = np.zeros((ROWS, COLUMNS), dtype=np.bool_)
    mask[:, :20] = True
    masked = Masked(mask, volume("lcc"))
    rng = np.random.default_rng(0)
    rule = Crop(16, scale=(0.1, 0.2), min_tissue=0.3)
    twice = Crop(16, scale=(0.1, 0.2), min_tissue=0.3, tries=2)
    free = Crop(16, scale=(0.1, 0.2), min_tissue=0.0)
    kept, second, once = (
        np.mean([masked.tissue(0, draw_rect(c, 0, masked, rng)).mean() >= 0.3 for _ in range(1000)])
        for c in (rule, twice, free)
    )
    assert rule.tries == 10
    assert once < 0.5
    assert abs(kept - (1 - (1 - once) ** 10)) < 0.04
    assert abs(second - (1 - (1 - once) ** 2)) < 0.06


def test_without_enough_tissue_the_best_rectangle_is_taken():
    mask = np.zeros((ROWS, COLUMNS), dtype=np.bool_)
    mask[:8, :8] = True
    masked = Masked(mask, volume("lcc"))
    best, any_ = ([], [])
    for seed in range(200):
        for least, found in ((1.0, best), (0.0, any_)):
            crop = Crop(16, scale=(0.1, 0.2), min_tissue=least)
            rect = draw_rect(crop, 0, masked, np.random.default_rng(seed))
            found.append(masked.tissue(0, rect).mean())
    assert (np.array(best) >= np.array(any_)).all()
    assert np.mean(best) > 3 * np.mean(any_)


def test_where_nothing_fits_the_middle_is_taken(whole):
    rect = draw_rect(
        Crop(8, scale=(1.0, 1.0), ratio=(2.0, 2.5)), 0, whole, np.random.default_rng(0)
    )
    assert rect == Rect(28, 0, 68, 80)  # all columns, and half as many rows


@pytest.mark.parametrize("shape", [(8, 8), (32, 32), (150, 150), (24, 10), (10, 24)])
def test_resizing_keeps_a_constant(whole, shape):
    image, tissue = cut(Place(Rect(5, 3, 77, 60), False, 0.0), shape, SliceRef(0, 1), whole)
    assert image.shape == tissue.shape == shape
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, 600 / 1023, rtol=1e-6)
    assert tissue.all()


def test_resizing_averages_over_what_it_shrinks(slices):
    """A pixel of a view covers many of the slice: of a ramp it is their mean, of a mask their majority."""
    for rows in (8, 12):
        place = Place(Rect(0, 0, 96, 80), False, 0.0)
        image, tissue = cut(place, (rows, 8), SliceRef(0, 0), slices)
        np.testing.assert_allclose(image[4], (np.arange(8) + 0.5) / 8, atol=0.02)
        assert tissue[:, :4].all()
        assert not tissue[:, 4:].any()


def test_a_size_is_a_side_or_rows_and_columns():
    assert Crop(16).shape == (16, 16)
    assert Crop((24, 10)).shape == (24, 10)


def test_a_flip_turns_the_columns_round(slices):
    rect = Rect(0, 0, 96, 80)
    image, tissue = cut(Place(rect, False, 0.0), (16, 16), SliceRef(0, 0), slices)
    flipped, flipped_tissue = cut(Place(rect, True, 0.0), (16, 16), SliceRef(0, 0), slices)
    assert np.array_equal(flipped, image[:, ::-1])
    assert np.array_equal(flipped_tissue, tissue[:, ::-1])


def test_a_positive_turn_is_counter_clockwise_and_uncovers_corners(slices):
    rect = Rect(0, 0, 96, 80)
    image, tissue = cut(Place(rect, False, 0.0), (33, 33), SliceRef(0, 0), slices)
    turned, turned_tissue = cut(Place(rect, False, 90.0), (33, 33), SliceRef(0, 0), slices)
    np.testing.assert_allclose(turned[1:-1, 1:-1], np.rot90(image)[1:-1, 1:-1], atol=1e-5)
    assert np.array_equal(turned_tissue[1:-1, 1:-1], np.rot90(tissue)[1:-1, 1:-1])
    tilted, tilted_tissue = cut(Place(rect, False, 30.0), (33, 33), SliceRef(0, 0), slices)
    assert tilted[-1, -1] == 0
    assert image[-1, -1] > 0.9
    assert not tilted_tissue[0, 0]
    assert tissue[0, 0]


def test_flips_and_turns_happen_as_often_as_asked(whole):
    rng = np.random.default_rng(0)
    crop = Crop(8, flip=0.3, rotation=20.0, p_rotation=0.2)
    places = [draw_place(crop, 0, whole, rng) for _ in range(2000)]
    angles = np.array([p.angle for p in places])
    assert abs(np.mean([p.flip for p in places]) - 0.3) < 0.05
    assert abs(np.mean(angles != 0) - 0.2) < 0.04
    assert np.abs(angles).max() <= 20.0
    assert angles.min() < -15.0 < 15.0 < angles.max()


def test_the_same_crop_shows_the_same_place(slices):
    crop = Crop(16, scale=(0.1, 0.5), rotation=30.0, p_rotation=0.5)
    views = (ViewSpec("anchor", crop), ViewSpec("positive", crop, same_crop_as=0))
    rng = np.random.default_rng(0)
    for _ in range(50):
        first, second = draw_places(views, SliceRef(0, 0), SliceRef(0, 2), slices, rng)
        assert first == second


def test_the_same_crop_keeps_its_relative_position_in_another_volume(slices):
    crop = Crop(16, scale=(0.1, 0.5))
    views = (ViewSpec("positive", crop), ViewSpec("anchor", crop, same_crop_as=0))
    rng = np.random.default_rng(0)
    for _ in range(50):
        large, small = draw_places(views, SliceRef(1, 0), SliceRef(0, 0), slices, rng)
        np.testing.assert_allclose(np.array(small.rect), np.array(large.rect) / 2, atol=1.0)
        assert (small.flip, small.angle) == (large.flip, large.angle)


def test_views_without_same_crop_are_drawn_apart(slices):
    views = (ViewSpec("anchor", Crop(16)), ViewSpec("anchor", Crop(16)))
    first, second = draw_places(
        views, SliceRef(0, 0), SliceRef(0, 0), slices, np.random.default_rng(0)
    )
    assert first.rect != second.rect


def test_views_that_cannot_be_made_are_refused():
    with pytest.raises(ConfigError, match="declares no views"):
        check_views(())
    with pytest.raises(PluginError, match="same_crop_as is -1, expected an integer of 0 or more"):
        ViewSpec("anchor", Crop(16), same_crop_as=-1)
    for twin in (0, 1):
        with pytest.raises(ConfigError, match=f"view 0: same_crop_as is {twin}"):
            check_views((ViewSpec("anchor", Crop(16), same_crop_as=twin),))
