from __future__ import annotations

import pytest

from dbtssl.config import validate
from dbtssl.plugins import registry
from dbtssl.training.pretrain import PretrainConfig

from .conftest import OBJECTIVES


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_method_of_the_objectives_name_resolves(name):
    method = registry().load("method", name)
    assert (method.objective, method.sampler) == (name, "same-slice")
    assert method.reported == ()
    assert method.paper
    assert method.reference
    validate(registry().load("objective", name).Config, method.objective_config)
    schedule = validate(PretrainConfig, method.pretrain)
    assert schedule.batch_size == 128


@pytest.mark.parametrize("name", OBJECTIVES)
def test_views_and_fine_tuning_are_those_of_moco(name):
    method, moco = registry().load("method", name), registry().load("method", "moco-v2")
    assert moco.objective_config.items() <= method.objective_config.items()
    assert method.finetuner == moco.finetuner
    assert method.finetuner_config == moco.finetuner_config


@pytest.mark.parametrize(
    ("name", "optimizer", "lr", "weight_decay", "epochs"),
    [
        ("simsiam", "sgd", 0.025, 1e-4, 100),  # 0.05 x batch / 256
        ("densecl", "sgd", 0.015, 1e-4, 200),  # 0.03 at a batch of 256
        ("dino", "adamw", 0.00025, 0.04, 100),  # 0.0005 x batch / 256
    ],
)
def test_schedules_that_the_papers_have(name, optimizer, lr, weight_decay, epochs):
    schedule = validate(PretrainConfig, registry().load("method", name).pretrain)
    found = (schedule.optimizer, schedule.lr, schedule.weight_decay, schedule.epochs)
    assert found == (optimizer, lr, weight_decay, epochs)
