from __future__ import annotations

import pytest

from dbtssl.config import validate
from dbtssl.plugins import registry
from dbtssl.training.pretraining.pretrain import PretrainConfig

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


# what the references have at their own batch: learning rate at 128, weight decay, epochs, warm-up
HALF = 128 / 256  # linear in the batch, for 256
PUBLISHED = {
    "simclr": ("lars", 0.075 * 128**0.5, 1e-4, 100, 10),  # google-research/simclr, README: sqrt
    "byol": ("lars", 0.3 * HALF, 1e-6, 300, 10),  # deepmind-research, byol/configs/byol.py
    "simsiam": ("sgd", 0.05 * HALF, 1e-4, 100, 0),  # section 3
    "barlow-twins": ("lars", 0.2 * HALF, 1e-6, 300, 10),  # facebookresearch/barlowtwins, main.py
    "vicreg": ("lars", 0.3 * HALF, 1e-6, 100, 10),  # facebookresearch/vicreg, README
    "dino": ("adamw", 0.0005 * HALF, 0.04, 100, 10),  # facebookresearch/dino, main_dino.py
    "densecl": ("sgd", 0.03 * HALF, 1e-4, 200, 0),  # configs/selfsup/densecl, MoCo v2's
    "lejepa": ("adamw", 5e-4, 5e-4, 100, 1),  # rbalestr-lab/lejepa, README, for ResNets; MINIMAL.md
}


def schedule(name):
    return validate(PretrainConfig, registry().load("method", name).pretrain)


@pytest.mark.parametrize("name", PUBLISHED)
def test_schedules_that_the_papers_have(name):
    optimizer, lr, weight_decay, epochs, warmup = PUBLISHED[name]
    found = schedule(name)
    assert (found.optimizer, found.epochs, found.warmup_epochs) == (optimizer, epochs, warmup)
    assert (found.lr, found.weight_decay) == pytest.approx((lr, weight_decay))
    assert found.momentum == 0.9
    assert found.decay_bias_norm == (optimizer == "sgd" or name == "lejepa")


def test_simclrs_rate_is_that_of_the_command_that_it_cites():
    assert schedule("simclr").lr == pytest.approx(0.849, abs=5e-4)
    at_4096 = 0.075 * 4096**0.5  # the command's batch, where both rules agree
    assert at_4096 == pytest.approx(0.3 * 4096 / 256)


# what the references have by default, beside the papers' tables; what is not in the dict is another name or ours
DEFAULTS = {
    # main_dino.py
    "dino": {
        "dim": 65536,
        "hidden": 2048,
        "bottleneck": 256,
        "batch_norm": False,
        "norm_last_layer": True,
        "freeze_last_layer": 1 / 100,
        "student_temp": 0.1,
        "teacher_temp": 0.04,
        "warmup_teacher_temp": 0.04,
        "warmup": 0.0,
        "center_momentum": 0.9,
        "momentum": 0.996,
        "crop_size": 224,
        "crop_scale": (0.4, 1.0),
        "local_views": 8,
        "local_size": 96,
        "local_scale": (0.05, 0.4),
    },
    # README.md and lejepa/univariate/epps_pulley.py
    "lejepa": {
        "sigreg": 0.05,
        "projections": 1024,
        "knots": 17,
        "t_max": 3.0,
        "crop_size": 224,
        "crop_scale": (0.3, 1.0),
        "local_views": 6,
        "local_size": 98,
        "local_scale": (0.05, 0.3),
    },
    # configs/selfsup/densecl/densecl_imagenet_200ep.py
    "densecl": {
        "dim": 128,
        "hidden": 2048,
        "temperature": 0.2,
        "queue_size": 65536,
        "momentum": 0.999,
        "dense_weight": 0.5,
    },
    "byol": {"dim": 256, "hidden": 4096, "momentum": 0.996},  # byol/configs/byol.py, 1000 epochs
    "simsiam": {"dim": 2048, "hidden": 2048, "bottleneck": 512},  # simsiam/builder.py, ResNet-50
    "vicreg": {
        "dim": 8192,
        "hidden": 8192,
        "invariance": 25.0,
        "variance": 25.0,
        "covariance": 1.0,
    },
    "barlow-twins": {
        "dim": 8192,
        "hidden": 8192,
    },  # main.py; its lambda is 0.0051, the paper's 0.005
    "simclr": {"dim": 128, "hidden": 2048, "temperature": 0.1},  # run.py, ResNet-50
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_are_the_references(name):
    found = registry().load("objective", name).Config().model_dump()
    assert {key: found[key] for key in DEFAULTS[name]} == DEFAULTS[name]


def test_what_single_papers_have_besides():
    """Barlow Twins: 0.0048 for biases and norms; it and VICReg end at a thousandth; DINO: 0.4 and 3.0."""
    barlow, vicreg, dino = (schedule(name) for name in ("barlow-twins", "vicreg", "dino"))
    assert barlow.lr * barlow.bias_norm_lr == pytest.approx(0.0048 * 128 / 256)
    assert (barlow.min_lr, vicreg.min_lr) == pytest.approx((1e-4, 1.5e-4))
    assert (dino.min_lr, dino.weight_decay_end, dino.clip_norm) == (1e-6, 0.4, 3.0)
    assert registry().load("method", "byol").objective_config["momentum"] == 0.99
    assert schedule("lejepa").min_lr == pytest.approx(5e-4 / 1000)
    others = [schedule(name) for name in PUBLISHED if name not in ("barlow-twins", "dino")]
    assert {(s.bias_norm_lr, s.weight_decay_end, s.clip_norm) for s in others} == {
        (1.0, None, None)
    }
