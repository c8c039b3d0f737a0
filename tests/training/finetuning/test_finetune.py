from __future__ import annotations

import inspect
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from dbtssl.data.prepared.prepared_dataset import Slices
from dbtssl.data.records import Cohort
from dbtssl.errors import ConfigError, DataError, DbtsslError, TrainingError
from dbtssl.inference.predict import predict
from dbtssl.interfaces import Labelled, Run
from dbtssl.patches.patch_rule import PatchRule
from dbtssl.testing.toy_slices import toy_labelled
from dbtssl.training.finetuning import finetune
from dbtssl.training.finetuning.finetune import (
    VAL_SEED,
    cosine,
    slice_auc,
    train_patches,
    training_mode,
)
from dbtssl.training.finetuning.finetune_state import CHECKPOINT, LOG, RunState

RULE = PatchRule(32)


class Bright(nn.Module):
    """Pixels brighter than tissue, counted: a network to which the toy task is easy; with dropout and batch norm."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU())
            self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(8, 1))

    def forward(self, x):
        x = self.stem(x)
        pooled = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        return self.head(pooled).squeeze(1)


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    return toy_labelled(tmp_path_factory.mktemp("train"), patients=12, n_slices=5)


@pytest.fixture(scope="module")
def val(tmp_path_factory):
    return toy_labelled(tmp_path_factory.mktemp("val"), patients=10, n_slices=5, seed=1)


def fit(train, val, folder, *, seed=0, epochs=4, lr=0.1, workers=0, steps=6, **kwargs):
    model = Bright()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    run = Run(seed, RULE, folder, "cpu", workers)
    options = {"batch_size": 16, "steps_per_epoch": steps, "val_patches": 6} | kwargs
    return train_patches(model, optimizer, train, val, run, epochs=epochs, **options)


def weights(model):
    return model.state_dict()


def same(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


def log(folder):
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


@pytest.fixture(scope="module")
def fitted(train, val, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return fit(train, val, folder), folder


def test_a_separable_task_is_learned(train, val, tmp_path):
    fit(train, val, tmp_path, epochs=8, steps=12, val_patches=30)
    assert max(line["val_auc"] for line in log(tmp_path)) > 0.95


def test_labels_that_mean_nothing_teach_nothing(train, val, tmp_path):
    """Without boxes, and with labels dealt at random to slices, unseen slices stay at chance."""
    rng = np.random.default_rng(0)

    def dealt(labelled):
        bare = Cohort(replace(v, boxes=()) for v in labelled.slices.cohort)
        labels = rng.permutation(np.concatenate(labelled.abnormal))
        return Labelled(
            Slices(labelled.slices.root, bare), tuple(np.split(labels, len(labelled.abnormal)))
        )

    fit(dealt(train), dealt(val), tmp_path, epochs=4, steps=12)
    aucs = [line["val_auc"] for line in log(tmp_path)]
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.15)


def test_the_log_has_a_line_an_epoch_and_the_checkpoint_stays(fitted):
    _, folder = fitted
    lines = log(folder)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert all(np.isfinite([line["loss"], line["val_auc"]]).all() for line in lines)
    assert {p.name for p in folder.iterdir()} == {LOG, CHECKPOINT}


def test_the_best_epoch_is_returned_with_the_auc_that_scikit_learn_gives(fitted, val):
    model, folder = fitted
    assert not model.training
    table = predict(model, val, RULE, count=6, seed=VAL_SEED, accelerator="cpu")
    logits = np.array(table["logits"].to_pylist())
    probability = (1 / (1 + np.exp(-logits))).mean(axis=1)
    auc = roc_auc_score(table["abnormal"].to_pylist(), probability)
    assert auc == pytest.approx(max(line["val_auc"] for line in log(folder)), abs=1e-12)


def test_of_equal_epochs_the_earlier_is_kept(tmp_path):
    model = nn.Linear(1, 1)
    state = RunState(tmp_path, model, torch.optim.SGD(model.parameters(), lr=1.0), {})
    for epoch, auc in enumerate([0.6, 0.8, 0.8, None, 0.7]):
        nn.init.constant_(model.weight, epoch)
        state.record(1.0, auc)
    state.finish()
    assert model.weight.item() == 1


def test_epochs_that_differ_by_rounding_alone_are_equal(tmp_path):
    model = nn.Linear(1, 1)
    state = RunState(tmp_path, model, torch.optim.SGD(model.parameters(), lr=1.0), {})
    for epoch, auc in enumerate([0.3, 0.1 + 0.2, 0.29]):
        nn.init.constant_(model.weight, epoch)
        state.record(1.0, auc)
    state.finish()
    assert model.weight.item() == 0


def test_the_same_seed_gives_the_same_weights_and_another_others(fitted, train, val, tmp_path):
    again = fit(train, val, tmp_path / "again")
    assert same(weights(again), weights(fitted[0]))
    other = fit(train, val, tmp_path / "other", seed=1)
    assert not same(weights(other), weights(fitted[0]))


def test_workers_and_the_callers_random_state_do_not_matter(fitted, train, val, tmp_path):
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    other = fit(train, val, tmp_path, workers=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert same(weights(other), weights(fitted[0]))


class Killed(BaseException):
    """What a kill looks like from within."""


@pytest.mark.parametrize("during", ["step", "validation", "after the last epoch"])
def test_a_killed_run_goes_on_to_the_same_weights(
    fitted, train, val, tmp_path, monkeypatch, during
):
    calls = 0

    def dying(original, deadly):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == deadly:
                raise Killed
            return original(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        if during == "step":
            patch.setattr(finetune, "augment", dying(finetune.augment, 15))  # in epoch 3
        elif during == "validation":
            patch.setattr(finetune, "slice_auc", dying(finetune.slice_auc, 3))
        else:
            patch.setattr(RunState, "finish", dying(RunState.finish, 1))
        with pytest.raises(Killed):
            fit(train, val, tmp_path)
    assert (tmp_path / CHECKPOINT).exists()
    with (tmp_path / LOG).open("a") as file:
        file.write('{"epoch": 99}\n')  # written after the last checkpoint
    resumed = fit(train, val, tmp_path)
    assert same(weights(resumed), weights(fitted[0]))
    assert log(tmp_path) == log(fitted[1])


def test_the_state_of_another_run_is_refused(train, val, tmp_path, monkeypatch):
    monkeypatch.setattr(RunState, "finish", lambda self: None)
    fit(train, val, tmp_path, epochs=1)
    for change in ({"seed": 1}, {"lr": 0.2}, {"epochs": 2}, {"val_patches": 2}):
        with pytest.raises(ConfigError, match="another fine-tuning"):
            fit(train, val, tmp_path, **({"epochs": 1} | change))
    with pytest.raises(ConfigError, match="another fine-tuning"):
        fit(val, val, tmp_path, epochs=1)


def test_a_damaged_state_is_refused(train, val, tmp_path):
    (tmp_path / CHECKPOINT).write_bytes(b"not a checkpoint")
    with pytest.raises(DbtsslError, match="cannot be read"):
        fit(train, val, tmp_path)


def test_validation_comes_when_asked_for_and_at_the_end(train, val, tmp_path):
    fit(train, val, tmp_path, epochs=5, steps=1, val_every=2)
    assert [line["val_auc"] is not None for line in log(tmp_path)] == [
        False,
        True,
        False,
        True,
        True,
    ]


def test_each_group_keeps_its_share_of_a_rate_that_falls_by_the_cosine(train, val, tmp_path):
    rates = []

    class Recorder(torch.optim.SGD):
        def step(self, closure=None):
            rates.append([group["lr"] for group in self.param_groups])
            return super().step(closure)

    model = Bright()
    stem, head = (list(part.parameters()) for part in (model.stem, model.head))
    optimizer = Recorder([{"params": stem, "lr": 0.1}, {"params": head}], lr=0.4)
    run = Run(0, RULE, tmp_path, "cpu")
    train_patches(model, optimizer, train, val, run, epochs=2, batch_size=4, steps_per_epoch=3)
    expected = [0.5 * (1 + np.cos(np.pi * step / 6)) for step in range(6)]
    np.testing.assert_allclose(rates, np.outer(expected, [0.1, 0.4]))


def test_cosine_runs_from_one_to_zero():
    assert [cosine(t) for t in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.5, 0.0])


def test_frozen_parts_stay_in_evaluation_mode():
    model = nn.ModuleDict(
        {
            "frozen": nn.Sequential(nn.Conv2d(1, 1, 1), nn.Dropout(), nn.BatchNorm2d(1)),
            "trained": nn.Sequential(nn.Dropout(), nn.Linear(1, 1)),
        }
    )
    model["frozen"].requires_grad_(False)
    training_mode(model.eval())
    assert not any(m.training for m in model["frozen"].modules())
    assert all(m.training for m in model["trained"].modules())


@pytest.mark.parametrize("patches", [1, 5])
def test_slice_auc_is_that_of_the_mean_probability(patches):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, patches)).astype(np.float32)
    abnormal = rng.random(200) < 0.3
    mean = (1 / (1 + np.exp(-logits.astype(np.float64)))).mean(axis=1)
    assert slice_auc(logits, abnormal) == pytest.approx(roc_auc_score(abnormal, mean), abs=1e-12)


def test_slice_auc_tells_saturated_probabilities_apart():
    logits = np.array([[40.0], [50.0], [60.0], [45.0]], dtype=np.float32)
    assert slice_auc(logits, np.array([False, True, True, False])) == 1.0


def test_divergence_is_said(train, val, tmp_path):
    with pytest.raises(TrainingError, match="diverged in epoch 1") as caught:
        fit(train, val, tmp_path, lr=1e30)
    assert "learning rate" in caught.value.hint


@pytest.mark.parametrize("part", ["training", "validation"])
def test_one_class_alone_is_refused(train, val, tmp_path, part):
    given = {"training": train, "validation": val}
    none = tuple(np.zeros_like(a) for a in given[part].abnormal)
    given[part] = Labelled(given[part].slices, none)
    with pytest.raises(DataError, match=f"{part}: none of the .* is abnormal"):
        fit(given["training"], given["validation"], tmp_path)


def test_the_test_split_is_no_argument():
    assert "test" not in inspect.signature(train_patches).parameters


def test_validation_as_released_lies_over_the_lesion(train, val, tmp_path):
    """The selection's AUC is that of the patches that `predict` places so, and not that of blind ones."""
    options = {"epochs": 1, "val_patches": 6}
    seen = {}
    for released in (False, True):
        model = Bright()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        folder = tmp_path / str(released)
        run = Run(0, RULE, folder, "cpu", as_released=released)
        model = train_patches(
            model, optimizer, train, val, run, batch_size=16, steps_per_epoch=2, **options
        )
        (line,) = (json.loads(x) for x in (folder / LOG).read_text().splitlines())
        for inference in ("random", "oracle"):
            table = predict(
                model, val, RULE, inference=inference, count=6, seed=VAL_SEED, accelerator="cpu"
            )
            logits = np.stack(table["logits"].to_numpy())
            seen[released, inference] = slice_auc(logits, np.concatenate(val.abnormal))
        assert line["val_auc"] == pytest.approx(seen[released, "oracle" if released else "random"])
    assert seen[True, "oracle"] != seen[True, "random"]
