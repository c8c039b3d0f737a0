"""Runs that really collapse end with a sentence; runs that do not are left alone."""

from __future__ import annotations

import json
import math

import pytest
from dbtssl_mammodino.objective import collapse

from dbtssl.errors import TrainingError
from dbtssl.plugins import registry
from dbtssl.training.pretraining.pretrain import PretrainConfig, pretrain

from .conftest import VARIANTS, WIDTH, build

PLAN = {"epochs": 10, "batch_size": 8, "slices_per_volume": 4, "optimizer": "adamw"}
ALONE = {"cross_slice": "none", "koleo_weight": 0.0, "momentum": 0.5}
ONE_PROTOTYPE = {"center_momentum": 1.0}  # a centre that stays at 0
ALL_PROTOTYPES = {"teacher_temp": 2.0, "warmup_teacher_temp": 2.0}  # no sharpening


def train(slices, folder, lr=0.003, **changes):
    objective = build(**changes)
    sampler = registry().build("sampler", "adjacent-slices", {"reach": 4})
    run = {"seed": 3, "folder": folder, "accelerator": "cpu"}
    pretrain(objective, sampler, slices, PretrainConfig(**PLAN, lr=lr), **run)
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("cause", [ONE_PROTOTYPE, ALL_PROTOTYPES], ids=["center", "temperature"])
def test_a_collapsed_run_ends_with_what_happened(cause, slices, tmp_path):
    with pytest.raises(TrainingError) as caught:
        train(slices, tmp_path, lr=0.01, **ALONE, **cause)
    assert "the training collapsed by the end of epoch" in caught.value.message
    assert "the features of all images are one vector" in caught.value.message
    assert "temperatures and centring" in caught.value.hint
    last = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert last["epoch"] < PLAN["epochs"]
    assert last["feature_std"] * WIDTH**0.5 < 0.03
    assert last["teacher_information"] < 1e-3
    flat = last["teacher_entropy"] / math.log(12)
    assert flat > 0.95 if cause is ALL_PROTOTYPES else flat < 0.5


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_healthy_run_is_left_alone(variant, slices, tmp_path):
    log = train(slices, tmp_path, cross_slice=variant)
    assert len(log) == PLAN["epochs"]
    assert all(line["feature_std"] * WIDTH**0.5 > 0.06 for line in log)


def test_what_counts_as_a_collapse():
    well = {
        "teacher_information": 0.0,
        "teacher_entropy": 2.0,
        "feature_std": 0.1,
        "rankme": 1.3,
    }
    assert collapse(well, 1024, 100) == ""
    told = collapse(well | {"feature_std": 0.0029}, 1024, 100)
    assert told == (
        "the features of all images are one vector (their standard deviation is 0.029 of an even one); RankMe is 1.30, "
        "and the teacher's prototypes tell 0 nats of the image, with an entropy of 2.00 of at most 6.93"
    )
    assert collapse(well | {"feature_std": 0.0031}, 1024, 100) == ""


def test_new_networks_are_not_judged():
    objective = build()
    alike = {"teacher_information": 0.0, "teacher_entropy": 0.0, "feature_std": 0.0, "rankme": 1.0}
    objective.after_step(0.09)
    assert objective.collapsed(alike) == ""
    objective.after_step(0.1)
    assert objective.collapsed(alike) != ""
