from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch
from dbtssl_sift_dbt.finetuner import LocalMultiPatch
from pydantic import ValidationError

from dbtssl.api import (
    FineTuner,
    PatchClassifier,
    PatchRule,
    Run,
    classifier_optimizer,
    create_encoder,
)
from dbtssl.testing.toy_slices import toy_labelled

SHORT = {"epochs": 2, "batch_size": 8, "steps_per_epoch": 2, "val_patches": 2}


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    return [
        toy_labelled(tmp_path_factory.mktemp("toy"), patients=4, n_slices=4, seed=s)
        for s in range(2)
    ]


def encoder():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return create_encoder("cnn7", base_channels=4)


def build(**settings):
    return LocalMultiPatch(LocalMultiPatch.Config(**settings))


def fit(toys, folder, **config):
    start = encoder()
    before = {k: v.clone() for k, v in start.state_dict().items()}
    run = Run(0, PatchRule(64), folder, "cpu")
    model = build(**(SHORT | config)).fit(start, *toys, run)
    assert all(torch.equal(before[k], v) for k, v in start.state_dict().items())
    return model, before


def moved(model, before):
    """Names of the encoder's parameters and buffers that are no longer what they were."""
    return {k for k, v in model.encoder.state_dict().items() if not torch.equal(v, before[k])}


def test_linear_leaves_the_encoder_bit_identical_with_its_batch_norm_statistics(toys, tmp_path):
    model, before = fit(toys, tmp_path, strategy="linear", lr=1.0)
    assert moved(model, before) == set()
    assert any("running_mean" in name for name in before)
    assert not torch.equal(model.head.weight, PatchClassifier(encoder(), seed=0).head.weight)


@pytest.mark.parametrize("strategy", ["full", "discriminative"])
def test_the_other_strategies_train_everything(toys, tmp_path, strategy):
    model, before = fit(toys, tmp_path, strategy=strategy, lr=0.1)
    assert moved(model, before) == set(before)
    logits = model(torch.rand(3, 1, 64, 64))
    assert logits.shape == (3,)
    assert not model.training


def groups(**config):
    model = PatchClassifier(encoder())
    optimizer = classifier_optimizer(model, LocalMultiPatch.Config(**config))
    rates = [group["lr"] for group in optimizer.param_groups]
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    return model, optimizer, rates, trained


def test_the_default_is_what_was_released():
    _, optimizer, rates, _ = groups()
    assert isinstance(optimizer, torch.optim.SGD)
    assert rates == pytest.approx([0.08, 0.02857, 0.01020, 0.003644, 0.001302, 0.000465], rel=1e-3)
    assert {g["weight_decay"] for g in optimizer.param_groups} == {1e-4}
    assert {g["momentum"] for g in optimizer.param_groups} == {0.9}
    assert LocalMultiPatch.Config().model_dump() == {
        "strategy": "discriminative",
        "factor": 2.8,
        "epochs": 50,
        "batch_size": 128,
        "steps_per_epoch": None,
        "optimizer": "sgd",
        "lr": 0.08,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "val_patches": 1,
        "val_every": 1,
        "matched": 0.0,
    }


@pytest.mark.parametrize("strategy", ["linear", "full", "discriminative"])
def test_each_strategy_trains_what_its_name_says(strategy):
    model, _, rates, trained = groups(strategy=strategy)
    expected = model.head.parameters() if strategy == "linear" else model.parameters()
    assert sorted(map(id, trained)) == sorted(map(id, expected))
    assert len(rates) == (6 if strategy == "discriminative" else 1)


def test_adamw_takes_momentum_as_beta1():
    _, optimizer, _, _ = groups(optimizer="adamw", momentum=0.8, lr=1e-3)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {g["betas"] for g in optimizer.param_groups} == {(0.8, 0.999)}


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 7},
        {"strategy": "half"},
        {"lr": 0},
        {"epochs": 0},
        {"momentum": 1.0},
        {"lrr": 1},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        LocalMultiPatch.Config(**wrong)


def test_every_setting_is_described():
    assert all(field.description for field in LocalMultiPatch.Config.model_fields.values())


def test_reading_the_settings_loads_no_torch():
    code = (
        "import sys; from dbtssl_sift_dbt.finetuner import LocalMultiPatch as L; "
        "L(L.Config()); print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_it_is_a_fine_tuner_without_a_test_split():
    assert isinstance(build(), FineTuner)
    names = list(inspect.signature(LocalMultiPatch.fit).parameters)
    assert names == ["self", "encoder", "train", "val", "run"]


def test_the_same_seed_gives_the_same_classifier(toys, tmp_path):
    one, _ = fit(toys, tmp_path / "one")
    two, _ = fit(toys, tmp_path / "two")
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("strategy", "init"), [("full", "torch"), ("linear", "small")])
def test_the_head_as_released_begins_as_pytorchs_but_for_the_linear_probe(
    toys, tmp_path, strategy, init
):
    run = Run(0, PatchRule(64), tmp_path, "cpu", as_released=True)
    config = LocalMultiPatch.Config(**SHORT, strategy=strategy, lr=1e-12, weight_decay=0.0)
    model = LocalMultiPatch(config).fit(encoder(), *toys, run)
    expected = PatchClassifier(encoder(), seed=0, init=init).head.weight
    torch.testing.assert_close(model.head.weight, expected, rtol=0, atol=1e-6)
