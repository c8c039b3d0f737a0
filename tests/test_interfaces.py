from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dbtssl.api import Crop, HasHead, HasPlace, Photometry, ReportsCollapse, Trainable, ViewSpec
from dbtssl.errors import PluginError
from dbtssl.interfaces.abilities import ABILITIES, able
from dbtssl.plugins import KINDS, registry
from dbtssl.testing.toy_objective import toy_batch, toy_objective

VIT = ("vit_tiny_patch16_224", {"img_size": 16, "patch_size": 4, "embed_dim": 12, "num_heads": 2})
SMALL = {"prototypes": 8, "patch_prototypes": 8, "hidden": 8, "crop_size": 16, "local_size": 8}


@pytest.mark.parametrize(
    ("name", "fields", "backbone", "part"),
    [
        ("mammodino", SMALL, VIT, "seeds"),
        ("implants", {"crop_size": 24}, None, "seeds"),
        ("implants", {"crop_size": 24}, None, "z"),
        ("implants", {"crop_size": 24}, None, "pixel"),
    ],
)
def test_a_batch_without_a_part_that_the_objective_reads_is_refused(name, fields, backbone, part):
    objective = toy_objective(name, fields, backbone=backbone)
    whole = toy_batch(objective, n=4)
    with pytest.raises(PluginError, match=rf"reads Batch\.{part}, got 0 of it") as error:
        objective(replace(whole, **{part: ()}))
    assert error.value.hint == f"give Batch {part}=(...); the batches of pretrain have it"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ViewSpec("Anchor", Crop(64)), r"of is 'Anchor'.*Did you mean 'anchor'"),
        (lambda: ViewSpec("neighbour", Crop(64)), "expected one of 'anchor', 'positive'"),
        (lambda: ViewSpec(None, Crop(64)), "of is None"),
        (lambda: ViewSpec("anchor", 64), "crop is 64, expected a Crop"),
        (lambda: ViewSpec("anchor", Crop(64), 0.4), "photometry is 0.4, expected a Photometry"),
        (lambda: ViewSpec("anchor", Crop(64), same_crop_as=-1), "same_crop_as is -1"),
        (lambda: ViewSpec("anchor", Crop(64), same_crop_as=True), "same_crop_as is True"),
        (lambda: Crop(64, scale=(40, 100)), r"scale is \(40, 100\).*shares of an area above 0"),
        (lambda: Crop(64, scale=(0.5, 0.2)), "two rising"),
        (lambda: Crop(64, scale=(0.0, 1.0)), "above 0 and up to 1"),
        (lambda: Crop(64, scale=0.5), "scale is 0.5"),
        (lambda: Crop(64, ratio=(-1.0, 1.0)), "ratio is"),
        (lambda: Crop(64, flip=50), "flip is 50.*a probability; 0.5 is 50 %"),
        (lambda: Crop(64, flip=float("nan")), "flip is nan"),
        (lambda: Crop(64, flip=True), "flip is True"),
        (lambda: Crop(64, flip="0.5"), "flip is '0.5'"),
        (lambda: Crop(64, rotation=-5), "rotation is -5.*degrees"),
        (lambda: Crop(64, p_rotation=1.5), "p_rotation is 1.5"),
        (lambda: Crop(64, min_tissue=30), "min_tissue is 30.*0.01 is 1 %"),
        (lambda: Crop(64, tries=0), "tries is 0"),
        (lambda: Crop(0), "size is 0"),
        (lambda: Crop(64.0), "size is 64.0"),
        (lambda: Crop((64, -1)), "size is -1"),
        (lambda: Crop((64,)), r"size is \(64,\), expected a side or \(rows, columns\)"),
        (lambda: Crop([64, 64]), r"size is \[64, 64\]"),
        (lambda: Photometry(brightness=40), "brightness is 40"),
        (lambda: Photometry(p_jitter=80), "p_jitter is 80"),
        (lambda: Photometry(blur=(2.0, 0.1)), "blur is"),
        (lambda: Photometry(blur=(-1, 1)), "from 0 on"),
        (lambda: Photometry(noise=-0.1), "noise is -0.1"),
    ],
)
def test_what_a_view_cannot_be_is_refused_where_it_is_written(make, words):
    with pytest.raises(PluginError, match=words) as error:
        make()
    assert error.value.hint


def test_the_numbers_of_numpy_are_numbers():
    share, pixels = np.float64(0.5), np.int64(32)
    crop = Crop((pixels, pixels), scale=(np.float32(0.25), 1), flip=share, tries=pixels)
    assert crop.shape == (32, 32)
    assert Photometry(brightness=share, blur=(0, share)).blur == (0, 0.5)
    assert Crop(pixels).shape == (32, 32)


def test_an_ability_is_a_method_of_the_class_not_what_a_constructor_sets():
    """Many a network calls its projection ``head``; that is none of a detector."""

    class Network:
        def __init__(self):
            self.head = self.collapsed = len

        place = 3

        def fit(self, train, val):
            raise NotImplementedError

    for component in (Network, Network()):
        assert not any(able(component, a) for a in (HasHead, HasPlace, ReportsCollapse, Trainable))
    Network.collapsed = lambda self, means: ""
    assert able(Network(), ReportsCollapse)


@pytest.mark.parametrize(
    ("kind", "name", "abilities"),
    [
        ("objective", "implants", ["HasHead", "HasPlace"]),
        ("objective", "mammodino", ["ReportsCollapse"]),
        ("objective", "moco-v2", ["ReportsCollapse"]),
        ("objective", "simclr", []),
        ("sampler", "metadata-pairs", ["HasPartner"]),
        ("sampler", "same-slice", []),
        ("aggregator", "attention", ["Trainable"]),
        ("aggregator", "max", []),
        ("finetuner", "local-multi-patch", []),
    ],
)
def test_what_the_projects_own_components_can_do(kind, name, abilities):
    assert set(ABILITIES) == set(KINDS)
    target = registry().load(kind, name)
    assert [a.__name__ for a in ABILITIES[kind] if able(target, a)] == abilities
