"""The two methods trained for real, on a toy cohort where a breast, a study and a view are missing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from dbtssl.api import Label, Volume, create_encoder
from dbtssl.data.prepared.prepared_dataset import write_dataset
from dbtssl.plugins import registry
from dbtssl.testing.resume import check_resume
from dbtssl.training.pretraining.loop import LOG
from dbtssl.training.pretraining.pretrain import PretrainConfig, pretrain

VIEWS = {
    "P0": ("lcc", "lmlo", "rcc", "rmlo"),
    "P1": ("lcc", "rmlo"),
    "P2": ("rcc",),
    "P3": ("lmlo",),
}
SMALL = {"crop_size": 64, "queue_size": 8, "dim": 8, "splits": 1}
SCHEDULE = PretrainConfig(epochs=5, batch_size=4, slices_per_volume=2, lr=0.05)


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    rng = np.random.default_rng(0)
    volumes = [
        Volume(patient, "S", view, 6, 48, 40, Label.NORMAL)
        for patient, views in VIEWS.items()
        for view in views
    ]
    arrays = [rng.integers(100, 900, size=(6, 48, 40)).astype(np.uint16) for _ in volumes]
    data = write_dataset(tmp_path_factory.mktemp("medaug"), volumes, arrays)
    return data.slices(range(len(volumes)))


def build(name, seed=0):
    moco = registry().load("objective", registry().load("method", name).objective)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return moco(create_encoder("cnn7", base_channels=2), moco.Config(**SMALL))


def sampler_of(name, preset="mocov2"):
    method = registry().load("method", name)
    cls = registry().load("sampler", method.sampler)
    fields = method.sampler_config | method.presets[preset].get("sampler", {})
    return cls(cls.Config(**fields))


def train(name, slices, folder, preset="mocov2"):
    pairs = sampler_of(name, preset)
    pretrain(build(name), pairs, slices, SCHEDULE, seed=1, folder=folder, accelerator="cpu")


def lines(folder):
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


@pytest.mark.parametrize("name", ["medaug", "inter-slice"])
def test_an_interrupted_run_ends_with_the_same_state(slices, tmp_path, name):
    check_resume(lambda seed: build(name, seed), tmp_path, slices=slices, sampler=sampler_of(name))


def test_the_log_tells_what_share_of_volumes_has_no_partner(slices, tmp_path):
    """P2 and P3 have one volume of the eight each; each epoch shows two slices of each volume."""
    train("medaug", slices, tmp_path / "mocov2")
    train("medaug", slices, tmp_path / "own", preset="medaug")
    train("inter-slice", slices, tmp_path / "near")
    for folder in ("mocov2", "own"):
        assert {line["no_partner"] for line in lines(tmp_path / folder)} == {2 / 8}
    # the anchor where there is no partner, and one of 4 or 2 candidates where there is
    expected = (2 + 4 / 4 + 2 / 2) / 8
    drawn = np.mean([line["same_slice"] for line in lines(tmp_path / "own")])
    assert abs(drawn - expected) < 3 * np.sqrt(expected * (1 - expected) / 80)
    assert min(line["same_slice"] for line in lines(tmp_path / "own")) >= 2 / 8
    assert not any("no_partner" in line for line in lines(tmp_path / "near"))
