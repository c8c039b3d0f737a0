from __future__ import annotations

import pytest
from pydantic import ValidationError

from dbtssl.interfaces import Crop, Photometry, ViewSpec
from dbtssl.views.settings import PairViews, pair_views


def test_a_pair_is_the_anchor_and_its_positive_with_every_setting_in_its_place():
    fields = {
        "crop_size": 40,
        "crop_scale": (0.3, 0.9),
        "flip": 0.1,
        "rotation": 20.0,
        "p_rotation": 0.2,
        "min_tissue": 0.4,
        "brightness": 0.5,
        "contrast": 0.6,
        "p_jitter": 0.7,
        "blur": (0.0, 3.0),
        "p_blur": 0.9,
    }
    assert set(fields) == set(PairViews.model_fields)
    crop = Crop(
        40,
        (0.3, 0.9),
        ratio=(3 / 4, 4 / 3),
        flip=0.1,
        rotation=20.0,
        p_rotation=0.2,
        min_tissue=0.4,
    )
    light = Photometry(0.5, 0.6, 0.7, (0.0, 3.0), 0.9)
    expected = (ViewSpec("anchor", crop, light), ViewSpec("positive", crop, light))
    assert pair_views(PairViews(**fields)) == expected
    assert pair_views(**PairViews(**fields).model_dump()) == expected  # as API 1 began
    assert pair_views(crop_size=40) == pair_views(PairViews(crop_size=40))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"crop_scale": (0.5, 0.2)}, "two rising shares above 0 and up to 1"),
        ({"crop_scale": (0.0, 1.0)}, "two rising shares above 0 and up to 1"),
        ({"crop_scale": (0.5, 1.5)}, "two rising shares above 0 and up to 1"),
        ({"blur": (-0.1, 1.0)}, "two rising numbers from 0"),
        ({"blur": (2.0, 1.0)}, "two rising numbers from 0"),
    ],
)
def test_a_range_that_is_none_is_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        PairViews(**wrong)
