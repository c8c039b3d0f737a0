"""Every setting reaches its place, and wrong ones are refused."""

from __future__ import annotations

import pytest
from dbtssl_moco.objective import MoCoV2
from pydantic import ValidationError

from dbtssl.api import ConfigError

from .conftest import batch, build


def test_every_setting_reaches_its_place():
    objective = build(
        hidden=7,
        temperature=0.3,
        splits=2,
        crop_size=18,
        crop_scale=(0.3, 0.9),
        flip=0.4,
        rotation=11.0,
        p_rotation=0.6,
        min_tissue=0.2,
        brightness=0.1,
        contrast=0.15,
        p_jitter=0.7,
        blur=(0.2, 1.5),
        p_blur=0.35,
    )
    anchor, positive = objective.views
    assert (anchor.of, positive.of) == ("anchor", "positive")
    assert anchor.crop == positive.crop
    crop, light = anchor.crop, anchor.photometry
    assert (crop.size, crop.scale, crop.flip) == (18, (0.3, 0.9), 0.4)
    assert (crop.rotation, crop.p_rotation, crop.min_tissue) == (11.0, 0.6, 0.2)
    assert (light.brightness, light.contrast, light.p_jitter) == (0.1, 0.15, 0.7)
    assert (light.blur, light.p_blur) == ((0.2, 1.5), 0.35)
    assert objective.query[0].norm.splits == 2
    assert objective.query[1].layers[0].weight.shape == (7, 6)
    assert objective.config.temperature == 0.3


def test_defaults_are_the_references():
    config = MoCoV2.Config()
    assert (config.dim, config.queue_size, config.temperature) == (128, 65536, 0.2)
    assert (config.momentum, config.momentum_schedule) == (0.999, "constant")
    assert (config.crop_size, config.crop_scale) == (224, (0.2, 1.0))
    assert build(hidden=None).query[1].layers[0].weight.shape == (6, 6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"queue_size": 0},
        {"momentum": 1.1},
        {"splits": 0},
        {"crop_size": 4},
        {"crop_scale": (0.5, 0.2)},
        {"crop_scale": (0.0, 1.0)},
        {"crop_scale": (0.5, 1.5)},
        {"blur": (2.0, 0.1)},
        {"exclude_negatives": "slice"},
        {"queue": 3},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        MoCoV2.Config(**wrong)


def test_a_batch_that_the_splits_do_not_divide_is_refused():
    with pytest.raises(ConfigError, match="6 images on this device cannot be cut into 4"):
        build(splits=4)(batch(6))
