"""The two methods trained for real, on a toy cohort where a breast, a study and a view are missing."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch

from dbtssl.api import Label, Volume, create_encoder
from dbtssl.data.store import write_dataset
from dbtssl.plugins import registry
from dbtssl.training.loop import CHECKPOINT, LOG
from dbtssl.training.pretrain import PretrainConfig, pretrain

VIEWS = {
    "P0": ("lcc", "lmlo", "rcc", "rmlo"),
    "P1": ("lcc", "rmlo"),
    "P2": ("rcc",),
    "P3": ("lmlo",),
}
SMALL = {"crop_size": 64, "queue_size": 8, "dim": 8, "splits": 1}
SCHEDULE = PretrainConfig(epochs=5, batch_size=4, slices_per_volume=2, lr=0.05, checkpoint_every=0)
STEPS = 20  # 16 slices an epoch


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


def train(name, slices, folder, preset="mocov2", steps=STEPS):
    """Pretrain; with fewer ``steps`` it is interrupted there."""
    method = registry().load("method", name)
    changes = method.presets[preset].get("sampler", {})
    cls = registry().load("sampler", method.sampler)
    sampler = cls(**cls.Config(**(method.sampler_config | changes)).model_dump())
    moco = registry().load("objective", method.objective)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        keys = moco.Config(**SMALL).model_dump()
        objective = moco(create_encoder("cnn7", base_channels=2), **keys)
    done = []
    update = objective.after_step

    def after_step(progress):
        if len(done) == steps:
            raise KeyboardInterrupt
        done.append(progress)
        update(progress)

    objective.after_step = after_step
    pretrain(objective, sampler, slices, SCHEDULE, seed=1, folder=folder, accelerator="cpu")
    return objective


def lines(folder):
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def sha256(module):
    """Of every parameter and buffer, queue and pointer included."""
    total = hashlib.sha256()
    for name, value in module.state_dict().items():
        total.update(name.encode() + value.numpy().tobytes())
    return total.hexdigest()


@pytest.mark.parametrize("name", ["medaug", "inter-slice"])
def test_an_interrupted_run_ends_with_the_same_state(slices, tmp_path, name):
    straight = train(name, slices, tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        train(name, slices, tmp_path / "broken", steps=7)
    assert torch.load(tmp_path / "broken" / CHECKPOINT, weights_only=True)["step"] == 7
    resumed = train(name, slices, tmp_path / "broken")
    assert sha256(resumed) == sha256(straight)
    a, b = (
        [{**line, "images_per_s": 0} for line in lines(tmp_path / folder)]
        for folder in ("straight", "broken")
    )
    assert a == b
    assert len(a) == 5


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
