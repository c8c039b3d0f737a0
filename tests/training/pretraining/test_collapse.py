from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from dbtssl.config import Config
from dbtssl.data.prepared.prepared_dataset import write_dataset
from dbtssl.data.records import Label, Volume
from dbtssl.errors import TrainingError
from dbtssl.interfaces import Crop, Step, ViewSpec
from dbtssl.training.pretraining.loop import CHECKPOINT, LOG
from dbtssl.training.pretraining.pretrain import PretrainConfig, pretrain


class Itself:
    Config = Config

    def positive(self, anchor, cohort, rng):
        return anchor


class Fading(nn.Module):
    """Its one weight halves in each step, as the log says; below 0.05 it has collapsed."""

    Config = Config

    def __init__(self, quiet=False):
        super().__init__()
        self.views = (ViewSpec("anchor", Crop(8)),)
        self.weight = nn.Parameter(torch.ones(()))
        self.asked = []
        if quiet:
            self.collapsed = lambda means: ""

    def forward(self, batch):
        return Step(self.weight.square(), {"size": self.weight.detach().clone()})

    def after_step(self, progress):
        with torch.no_grad():
            self.weight.mul_(0.5)

    def encoder(self):
        return nn.Identity()

    def collapsed(self, means):
        self.asked.append(means)
        return f"the weight is {means['size']:.3f}" if means["size"] < 0.05 else ""


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    volumes = [Volume(f"P{i}", "S", "lcc", 1, 16, 16, Label.NORMAL) for i in range(4)]
    arrays = [torch.randint(0, 1023, (1, 16, 16)).numpy().astype("uint16") for _ in volumes]
    return write_dataset(tmp_path_factory.mktemp("collapse"), volumes, arrays).slices(range(4))


def train(objective, slices, folder):
    config = PretrainConfig(epochs=6, batch_size=2, lr=1e-9, checkpoint_every=1e6)
    run = {"seed": 0, "folder": folder, "accelerator": "cpu"}
    return pretrain(objective, Itself(), slices, config, **run)


def test_a_collapse_ends_the_training_at_the_end_of_its_epoch(slices, tmp_path):
    """Epoch means: 0.75, 0.1875, then 0.046875."""
    objective = Fading()
    with pytest.raises(TrainingError) as caught:
        train(objective, slices, tmp_path)
    assert caught.value.message == (
        "the training collapsed by the end of epoch 3: the weight is 0.047"
    )
    assert "pretrain.lr" in caught.value.hint
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]  # the last tells of it
    assert not (tmp_path / CHECKPOINT).exists()
    assert len(objective.asked) == 3
    assert objective.asked[1] == {key: lines[1][key] for key in ("size", "same_slice", "loss")}


def test_an_empty_answer_lets_it_go_on(slices, tmp_path):
    assert train(Fading(quiet=True), slices, tmp_path).epochs == 6


def test_an_objective_need_not_have_an_opinion(slices, tmp_path, monkeypatch):
    monkeypatch.delattr(Fading, "collapsed")
    assert train(Fading(), slices, tmp_path).epochs == 6
