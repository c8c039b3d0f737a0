"""What holds for every objective: it learns, goes on after a kill, and takes every sampler.

That every setting is read is shown in `tests/test_every_field.py`.
"""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from dbtssl.api import Batch
from dbtssl.plugins import registry
from dbtssl.testing.resume import check_resume
from dbtssl.training.pretraining.pretrain import PretrainConfig, pretrain

from .conftest import OBJECTIVES, build

PLAN = {"epochs": 5, "batch_size": 8, "slices_per_volume": 4, "lr": 0.01, "optimizer": "adamw"}


def train(name, slices, folder, sampler="same-slice", seed=0, kill_at=None, **plan):
    objective = build(name, seed)
    calls = []

    def count(*_):
        calls.append(1)
        if len(calls) == kill_at:
            raise KeyboardInterrupt

    objective.register_forward_pre_hook(count)
    config = PretrainConfig(**(PLAN | plan))
    positives = registry().build("sampler", sampler, {})
    run = {"seed": 3, "folder": folder, "accelerator": "cpu"}
    result = pretrain(objective, positives, slices, config, **run)
    return objective, result, len(calls)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_20_steps_equal_7_and_a_kill_and_13(name, slices, tmp_path):
    """With the optimiser, the decay and the clipping of the method itself."""
    keys = ("optimizer", "weight_decay", "weight_decay_end", "decay_bias_norm", "bias_norm_lr")
    schedule = registry().load("method", name).pretrain
    own = {key: schedule[key] for key in (*keys, "clip_norm") if key in schedule}
    check_resume(lambda seed: build(name, seed), tmp_path, slices=slices, **own)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_methods_own_schedule_trains(name, slices, tmp_path):
    """At its own rates, in 20 steps with the warm-up in proportion: finite, and no slower than a crawl."""
    schedule = registry().load("method", name).pretrain
    share = schedule.get("warmup_epochs", 0.0) / schedule["epochs"]
    plan = schedule | {"batch_size": 8, "epochs": 5, "warmup_epochs": 5 * share}
    before = build(name).encoder().state_dict()
    objective, result, _ = train(name, slices, tmp_path, **plan)
    assert math.isfinite(result.loss)
    after = objective.encoder().state_dict()
    moved = [float((after[k] - v).norm() / v.norm()) for k, v in before.items() if "weight" in k]
    assert max(moved) > 1e-4


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_falls_and_the_features_do_not_collapse(name):
    """Sixteen patterns, each seen twice with noise; the first steps, while queues fill, are not counted."""
    changes = {
        "dino": {"batch_norm": True, "warmup": 0.0, "freeze_last_layer": 0.0, "momentum": 0.9},
        "densecl": {"momentum": 0.9},
    }.get(name, {})
    alone = {"local_views": 0} if name in ("dino", "lejepa") else {}
    objective = build(name, **changes, **alone, dim=16)
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=3e-3)
    g = torch.Generator().manual_seed(0)
    patterns = torch.rand(16, 1, 5, 5, generator=g).repeat_interleave(4, 2).repeat_interleave(4, 3)
    ids, steps, losses = torch.arange(16), 60, []
    for step in range(steps):
        views = tuple(patterns + 0.05 * torch.randn(16, 1, 20, 20, generator=g) for _ in range(2))
        found = objective(Batch(views, views, *[(ids, ids)] * 3))
        optimizer.zero_grad()
        found.loss.backward()
        optimizer.step()
        objective.after_step(step / (steps - 1))
        losses.append(found.loss.item())
    early, late = sum(losses[4:9]) / 5, sum(losses[-5:]) / 5
    assert late < early - 0.1 * abs(early), losses
    assert found.logs["feature_std"] > 0.3 / 16**0.5  # 1 / sqrt(dim) fills the sphere


@pytest.mark.parametrize("sampler", registry().names("sampler"))
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_takes_every_sampler(name, sampler, slices, tmp_path):
    before = build(name).encoder().state_dict()
    plan = {"epochs": 1, "slices_per_volume": 1, "lr": 0.1}
    objective, result, calls = train(name, slices, tmp_path, sampler, **plan)
    assert (result.steps, calls) == (1, 1)
    after = objective.encoder().state_dict()
    assert any(not torch.equal(after[key], before[key]) for key in before)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_bf16_trains_and_keeps_the_state_in_float32(name, slices, tmp_path):
    objective, _, _ = train(name, slices, tmp_path, epochs=1, precision="bf16-mixed")
    state = objective.state_dict().values()
    assert all(bool(torch.isfinite(x).all()) for x in state)
    assert not any(x.dtype == torch.bfloat16 for x in state)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_kept_encoder_is_the_backbone_without_heads(name):
    objective = build(name)
    encoder = objective.encoder()
    assert encoder(torch.rand(4, 1, 20, 20)).shape == (4, 10)
    assert not any("head" in key for key in encoder.state_dict())
    assert all(p.requires_grad for p in encoder.parameters())


FIELDS = [(n, f) for n in OBJECTIVES for f in registry().load("objective", n).Config.model_fields]


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_every_field_is_described(name, field):
    assert registry().load("objective", name).Config.model_fields[field].description


WRONG = [
    ("simclr", {"temperature": 0.0}),
    ("simclr", {"dim": 0}),
    ("simclr", {"crop_size": 4}),
    ("simclr", {"crop_scale": (0.5, 0.2)}),
    ("simclr", {"crop_scale": (0.0, 1.0)}),
    ("simclr", {"blur": (2.0, 0.1)}),
    ("simclr", {"tau": 0.1}),
    ("byol", {"momentum": 1.1}),
    ("simsiam", {"bottleneck": 0}),
    ("barlow-twins", {"redundancy": -1.0}),
    ("vicreg", {"variance": -1.0}),
    ("dino", {"local_scale": (0.5, 1.5)}),
    ("dino", {"local_views": -1}),
    ("dino", {"warmup": 1.5}),
    ("dino", {"teacher_temp": 0.0}),
    ("densecl", {"queue_size": 0}),
    ("densecl", {"dense_weight": 1.5}),
    ("densecl", {"exclude_negatives": "slice"}),
    ("lejepa", {"sigreg": 1.5}),
    ("lejepa", {"knots": 1}),
    ("lejepa", {"t_max": 0.0}),
]


@pytest.mark.parametrize(("name", "wrong"), WRONG)
def test_wrong_settings_are_refused(name, wrong):
    with pytest.raises(ValidationError):
        registry().load("objective", name).Config(**wrong)


def test_every_objective_is_tested():
    found = registry().names("objective")
    ours = [n for n in found if registry().component("objective", n).module == "dbtssl_lightly_zoo"]
    assert sorted(ours) == sorted(OBJECTIVES)
