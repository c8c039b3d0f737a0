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


# what the references have at their own batch: learning rate for 256, weight decay, epochs, warm-up
PUBLISHED = {
    "simclr": ("lars", 0.3, 1e-6, 100, 10),  # google-research/simclr, README
    "byol": ("lars", 0.3, 1e-6, 300, 10),  # deepmind-research, byol/configs/byol.py
    "simsiam": ("sgd", 0.05, 1e-4, 100, 0),  # section 3
    "barlow-twins": ("lars", 0.2, 1e-6, 300, 10),  # facebookresearch/barlowtwins, main.py
    "vicreg": ("lars", 0.3, 1e-6, 100, 10),  # facebookresearch/vicreg, README
    "dino": ("adamw", 0.0005, 0.04, 100, 10),  # facebookresearch/dino, main_dino.py
    "densecl": ("sgd", 0.03, 1e-4, 200, 0),  # MoCo v2's
}


def schedule(name):
    return validate(PretrainConfig, registry().load("method", name).pretrain)


@pytest.mark.parametrize("name", PUBLISHED)
def test_schedules_that_the_papers_have(name):
    optimizer, lr, weight_decay, epochs, warmup = PUBLISHED[name]
    found = schedule(name)
    assert (found.optimizer, found.epochs, found.warmup_epochs) == (optimizer, epochs, warmup)
    assert (found.lr, found.weight_decay) == pytest.approx((lr * 128 / 256, weight_decay))
    assert found.momentum == 0.9
    assert found.decay_bias_norm == (optimizer == "sgd")


def test_what_single_papers_have_besides():
    """Barlow Twins: 0.0048 for biases and norms; it and VICReg end at a thousandth; DINO: 0.4 and 3.0."""
    barlow, vicreg, dino = (schedule(name) for name in ("barlow-twins", "vicreg", "dino"))
    assert barlow.lr * barlow.bias_norm_lr == pytest.approx(0.0048 * 128 / 256)
    assert (barlow.min_lr, vicreg.min_lr) == pytest.approx((1e-4, 1.5e-4))
    assert (dino.min_lr, dino.weight_decay_end, dino.clip_norm) == (1e-6, 0.4, 3.0)
    assert registry().load("method", "byol").objective_config["momentum"] == 0.99
    others = [schedule(name) for name in PUBLISHED if name not in ("barlow-twins", "dino")]
    assert {(s.bias_norm_lr, s.weight_decay_end, s.clip_norm) for s in others} == {
        (1.0, None, None)
    }
