from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from dbtssl.config import Config, result_fields
from dbtssl.data.prepared.prepared_dataset import write_dataset
from dbtssl.data.records import Label, SliceRef, Volume
from dbtssl.errors import ConfigError, DbtsslError
from dbtssl.interfaces import Crop, Photometry, Step, ViewSpec
from dbtssl.nn.queue import Queue
from dbtssl.nn.teacher import MomentumTeacher
from dbtssl.training.checkpoint import load_checkpoint, save_checkpoint
from dbtssl.training.pretraining.loop import CHECKPOINT, LOG
from dbtssl.training.pretraining.pretrain import PretrainConfig, pretrain

VOLUMES, SIZE = 12, 16


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    """Each volume has a grey level and a texture of its own."""
    rng = np.random.default_rng(0)
    volumes, arrays = [], []
    for i in range(VOLUMES):
        volumes.append(
            Volume(f"P{i // 2}", "S", "lcc" if i % 2 else "lmlo", 3, 40, 32, Label.NORMAL)
        )
        pattern = rng.integers(0, 1023, size=(1, 5, 4)).repeat(8, axis=1).repeat(8, axis=2)
        arrays.append(np.broadcast_to(pattern, (3, 40, 32)).astype(np.uint16))
    data = write_dataset(tmp_path_factory.mktemp("pretrain"), volumes, arrays)
    return data.slices(range(VOLUMES))


class NextSlice:
    Config = Config

    def positive(self, anchor, cohort, rng):
        return SliceRef(anchor.volume, int(rng.integers(cohort[anchor.volume].n_slices)))


class Toy(nn.Module):
    """Contrastive, with all that a checkpoint must hold: teacher, queue, running statistics, dropout."""

    Config = Config

    def __init__(self, seed=0, fail_at=None, poison_at=None):
        super().__init__()
        crop = Crop(SIZE, scale=(0.5, 1.0), rotation=10.0, p_rotation=0.5)
        light = Photometry(0.2, 0.2, blur=(0.1, 1.0), p_blur=0.5, noise=0.02)
        self.views = (ViewSpec("anchor", crop, light), ViewSpec("positive", crop, light))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.student = nn.Sequential(
                nn.Conv2d(1, 8, 5, stride=3),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.Flatten(),
                nn.Dropout(0.1),
                nn.Linear(128, 8),
            )
            self.queue = Queue(6, 8)
        self.teacher = MomentumTeacher(self.student)
        self.fail_at, self.poison_at, self.calls = fail_at, poison_at, 0
        self.progress = []

    def forward(self, batch):
        self.calls += 1
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        q = F.normalize(self.student(batch.views[0]), dim=1)
        k = F.normalize(self.teacher(batch.views[1]), dim=1)
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ self.queue.keys.T.clone()], 1) / 0.2
        loss = F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))
        self.queue.enqueue(k, batch.volume[1], batch.breast[1], batch.patient[1])
        return Step(loss * math.nan if self.calls == self.poison_at else loss, {"calls": 1.0})

    def after_step(self, progress):
        self.progress.append(progress)
        self.teacher.update(self.student, 0.9)

    def encoder(self):
        return self.student


def settings(**changes):
    keys = {"epochs": 4, "batch_size": 4, "lr": 0.05, "warmup_epochs": 1} | changes
    return PretrainConfig(**keys)


def train(slices, folder, objective=None, **changes):
    objective = objective or Toy()
    run = {"seed": 3, "folder": folder, "accelerator": "cpu"}
    return objective, pretrain(objective, NextSlice(), slices, settings(**changes), **run)


def lines(folder: Path):
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def test_the_loss_falls_and_the_log_tells_of_it(slices, tmp_path):
    plan = {
        "epochs": 20,
        "slices_per_volume": 4,
        "batch_size": 12,
        "optimizer": "adamw",
        "lr": 0.01,
    }
    objective, result = train(slices, tmp_path, **plan)
    assert (result.epochs, result.steps) == (20, 80)
    assert len(objective.progress) == 80
    assert objective.progress[0] == 0.0
    assert objective.progress[-1] == 1.0
    log = lines(tmp_path)
    assert [line["epoch"] for line in log] == list(range(1, 21))
    assert log[-1]["step"] == 80
    assert log[-1]["loss"] == result.loss
    chance = math.log(1 + 6)  # the positive among the keys of the queue
    assert np.mean([line["loss"] for line in log[-5:]]) < 0.8 * chance
    assert all(line["calls"] == 1.0 and line["images_per_s"] > 0 for line in log)


class HalfAlone(NextSlice):
    """Volumes of the first half have no partner, and their positive is the anchor."""

    def has_partner(self, volume, cohort):
        return volume >= len(cohort) // 2

    def positive(self, anchor, cohort, rng):
        if not self.has_partner(anchor.volume, cohort):
            return anchor
        return SliceRef(anchor.volume, (anchor.z + 1) % cohort[anchor.volume].n_slices)


def test_the_log_tells_how_many_pairs_fell_back(slices, tmp_path):
    run = {"seed": 3, "accelerator": "cpu"}
    pretrain(Toy(), HalfAlone(), slices, settings(), folder=tmp_path / "half", **run)
    told = {(line["same_slice"], line["no_partner"]) for line in lines(tmp_path / "half")}
    assert told == {(0.5, 0.5)}  # each epoch shows each of the 12 volumes once
    train(slices, tmp_path / "any")
    drawn = [line["same_slice"] for line in lines(tmp_path / "any")]
    assert 0.1 < np.mean(drawn) < 0.6  # any of 3 slices, 48 times
    assert not any("no_partner" in line for line in lines(tmp_path / "any"))


def test_learning_rate_rises_linearly_and_falls_as_a_cosine(slices, tmp_path):
    train(slices, tmp_path, epochs=6, warmup_epochs=2, min_lr=0.01)
    rates = [line["lr"] for line in lines(tmp_path)]  # of the last of 3 steps an epoch
    cosine = [0.01 + 0.04 * (1 + math.cos(math.pi * t / 11)) / 2 for t in (2, 5, 8, 11)]
    np.testing.assert_allclose(rates, [0.025, 0.05, *cosine], rtol=1e-6)


def test_weight_decay_follows_its_schedule_to_the_optimiser(slices, tmp_path):
    """With plain SGD at a constant rate, what a parameter without gradient has left is the product of 1 - lr wd(t)."""
    objective = Toy()
    objective.idle = nn.Parameter(torch.ones(2, 2))
    seen = objective.forward
    objective.forward = lambda batch: Step(seen(batch).loss + 0 * objective.idle.sum())
    plan = {"momentum": 0.0, "lr": 0.05, "min_lr": 0.05, "warmup_epochs": 0}
    train(slices, tmp_path, objective, weight_decay=0.4, weight_decay_end=2.0, **plan)
    decays = [2.0 - 1.6 * (1 + math.cos(math.pi * t / 11)) / 2 for t in range(12)]
    left = math.prod(1 - 0.05 * decay for decay in decays)
    torch.testing.assert_close(objective.idle.detach(), torch.full((2, 2), left))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_gradient_is_clipped_by_its_norm_over_all_parameters(slices, tmp_path, precision):
    """Plain SGD of one step at rate 1 moves the weights by the clipped gradient."""
    plan = {"epochs": 1, "batch_size": 12, "lr": 1.0, "min_lr": 1.0, "warmup_epochs": 0}
    plan |= {"momentum": 0.0, "weight_decay": 0.0, "precision": precision}
    start = Toy()
    moved = {}
    for norm in (None, 0.01, 1e6):
        objective, _ = train(slices, tmp_path / str(norm), clip_norm=norm, **plan)
        steps = zip(start.student.parameters(), objective.student.parameters(), strict=True)
        moved[norm] = torch.cat([(a - b).detach().flatten() for a, b in steps])
    (line,) = lines(tmp_path / "0.01")
    assert line["gradient_norm"] == pytest.approx(float(moved[None].norm()), rel=1e-3)
    assert line["gradient_norm"] > 0.01
    torch.testing.assert_close(
        moved[0.01], moved[None] * 0.01 / moved[None].norm(), rtol=1e-3, atol=1e-6
    )
    assert torch.equal(moved[1e6], moved[None])
    assert "gradient_norm" not in lines(tmp_path / "None")[0]


OPTIMIZERS = {
    "sgd": {},
    "adamw": {"weight_decay": 0.04, "weight_decay_end": 0.4, "clip_norm": 0.5},
    "lars": {"lr": 2.0, "decay_bias_norm": False, "bias_norm_lr": 0.1, "clip_norm": 0.5},
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("fail_at", [1, 5, 6, 7])
def test_going_on_ends_with_the_same_weights_bit_for_bit(slices, tmp_path, fail_at, optimizer):
    """Steps 5 and 7 lie within an epoch of 3, step 6 at its end; the checkpoint is one step old."""
    plan = {"checkpoint_every": 0, "optimizer": optimizer} | OPTIMIZERS[optimizer]
    straight, result = train(slices, tmp_path / "straight", **plan)
    with pytest.raises(KeyboardInterrupt):
        train(slices, tmp_path / "broken", Toy(fail_at=fail_at), **plan)
    resumed, again = train(slices, tmp_path / "broken", Toy(seed=9 if fail_at > 1 else 0), **plan)
    assert resumed.calls == 12 - (fail_at - 1)
    assert same(straight, resumed)
    assert again == result
    timeless = [
        [{**line, "images_per_s": 0} for line in lines(tmp_path / x)]
        for x in ("straight", "broken")
    ]
    assert timeless[0] == timeless[1]


def test_a_log_longer_than_the_checkpoint_is_cut_back(slices, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(slices, tmp_path, Toy(fail_at=8), checkpoint_every=1e6)
    assert len(lines(tmp_path)) == 2
    assert not (tmp_path / CHECKPOINT).exists()
    train(slices, tmp_path)
    assert [line["epoch"] for line in lines(tmp_path)] == [1, 2, 3, 4]


def test_a_finished_run_is_not_done_again(slices, tmp_path):
    first, result = train(slices, tmp_path)
    second, again = train(slices, tmp_path, Toy(seed=9))
    assert second.calls == 0
    assert same(first, second)
    assert again == result


def test_seed_decides_and_the_callers_generator_is_left_alone(slices, tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    one, _ = train(slices, tmp_path / "a")
    assert torch.equal(torch.rand(3), expected)
    two, _ = train(slices, tmp_path / "b")
    assert same(one, two)
    other = Toy()
    pretrain(
        other, NextSlice(), slices, settings(), seed=4, folder=tmp_path / "c", accelerator="cpu"
    )
    assert not same(one, other)


def test_workers_change_nothing(slices, tmp_path):
    alone, _ = train(slices, tmp_path / "alone", epochs=2)
    helped = Toy()
    run = {"seed": 3, "folder": tmp_path / "helped", "accelerator": "cpu", "workers": 2}
    pretrain(helped, NextSlice(), slices, settings(epochs=2), **run)
    assert same(alone, helped)


def test_bf16_trains(slices, tmp_path):
    objective, result = train(slices, tmp_path, epochs=2, precision="bf16-mixed")
    assert math.isfinite(result.loss)
    assert all(v.dtype != torch.bfloat16 for v in objective.state_dict().values())


def test_a_batch_larger_than_an_epoch_is_refused_with_the_numbers(slices, tmp_path):
    with pytest.raises(
        ConfigError, match=r"got 40, but an epoch has only 24 slices \(12 training"
    ) as caught:
        train(slices, tmp_path, batch_size=40, slices_per_volume=2)
    assert "slices_per_volume to at least 4" in caught.value.hint
    assert caught.value.hint.endswith("where the row names a preset, in the row's own table")
    assert not any(tmp_path.iterdir())


def test_several_devices_need_several_processes(slices, tmp_path):
    with pytest.raises(ConfigError, match="2 devices needs 2 processes") as caught:
        pretrain(
            Toy(),
            NextSlice(),
            slices,
            settings(),
            seed=0,
            folder=tmp_path,
            accelerator="cpu",
            devices=2,
        )
    assert "torchrun --nproc-per-node 2" in caught.value.hint


def test_a_loss_that_is_not_finite_ends_it_before_a_checkpoint(slices, tmp_path):
    with pytest.raises(DbtsslError, match="the loss is not finite") as caught:
        train(slices, tmp_path, Toy(poison_at=8), checkpoint_every=0)
    assert "pretrain.lr" in caught.value.hint
    state = load_checkpoint(tmp_path / CHECKPOINT)
    assert state is not None
    assert state["step"] == 7


def test_a_checkpoint_of_another_run_is_refused(slices, tmp_path):
    train(slices, tmp_path)
    for changes in ({"lr": 0.06}, {"epochs": 5}):
        with pytest.raises(ConfigError, match="checkpoint of another run"):
            train(slices, tmp_path, **changes)
    train(slices, tmp_path, checkpoint_every=5.0)  # does not decide the result


def test_a_damaged_checkpoint_is_refused(slices, tmp_path):
    train(slices, tmp_path)
    (tmp_path / CHECKPOINT).write_bytes(b"no checkpoint")
    with pytest.raises(DbtsslError, match="cannot be read as a checkpoint"):
        train(slices, tmp_path)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    torch.save({"step": Path("x")}, tmp_path / CHECKPOINT)  # a class, whose unpickling is a call
    with pytest.raises(DbtsslError, match="cannot be read as a checkpoint"):
        load_checkpoint(tmp_path / CHECKPOINT)


def test_numbers_of_numpy_are_written_as_pythons(tmp_path):
    """The oldest torch that is supported reads no others."""
    state = {
        "lr": np.float64(0.1),
        "groups": [{"lr": np.float32(0.5)}, (np.int64(3), np.bool_(True))],
    }
    save_checkpoint(tmp_path / "c.pt", state)
    found = load_checkpoint(tmp_path / "c.pt")
    assert found == state
    inside = [found["lr"], found["groups"][0]["lr"], *found["groups"][1]]
    assert [type(x) for x in inside] == [float, float, int, bool]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_and_the_old_checkpoint_kept(tmp_path, monkeypatch):
    path = tmp_path / CHECKPOINT
    save_checkpoint(path, {"step": 1})
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *args: opened(Path("/dev/full"), *args))
    with pytest.raises(DbtsslError, match="cannot write the checkpoint") as caught:
        save_checkpoint(path, {"step": 2, "weights": torch.zeros(100_000)})
    monkeypatch.undo()
    assert "free some disk space" in caught.value.hint
    assert load_checkpoint(path) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == [CHECKPOINT]


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"lr": 0.0},
        {"momentum": 1.0},
        {"weight_decay": -1.0},
        {"weight_decay_end": -1.0},
        {"bias_norm_lr": 0.0},
        {"clip_norm": 0.0},
        {"optimizer": "lars", "weight_decay": 0.0},
        {"optimizer": "lars", "weight_decay_end": 0.0},
        {"optimizer": "adam"},
        {"precision": "16-mixed"},
        {"epochs": 2, "warmup_epochs": 3},
        {"lr": 0.1, "min_lr": 0.2},
        {"epoch": 3},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        PretrainConfig(**wrong)


def test_only_what_decides_the_result_is_in_the_key():
    fields = result_fields(PretrainConfig())
    assert "checkpoint_every" not in fields
    assert {"epochs", "batch_size", "precision", "lr"} <= fields.keys()
