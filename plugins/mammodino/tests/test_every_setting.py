"""What holds for every variant: it goes on after a kill, takes every sampler, and reads every setting."""

from __future__ import annotations

import hashlib

import pytest
import torch
from pydantic import ValidationError

from dbtssl.plugins import registry
from dbtssl.training.pretraining.pretrain import PretrainConfig, pretrain

from .conftest import SMALL, VARIANTS, batch, build

PLAN = {"epochs": 5, "batch_size": 8, "slices_per_volume": 4, "lr": 0.001, "optimizer": "adamw"}
PROGRESS = (0.0, 0.1, 0.2, 0.3)


def train(variant, slices, folder, sampler="adjacent-slices", seed=0, kill_at=None, **plan):
    objective = build(seed, cross_slice=variant, crop_size=(20, 12))
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


def sha256(objective):
    text = hashlib.sha256()
    for name, value in sorted(objective.state_dict().items()):
        text.update(name.encode() + value.numpy().tobytes())
    return text.hexdigest()


@pytest.mark.parametrize("variant", VARIANTS)
def test_20_steps_equal_7_and_a_kill_and_13(variant, slices, tmp_path):
    straight, result, _ = train(variant, slices, tmp_path / "a", checkpoint_every=0)
    assert result.steps == 20
    with pytest.raises(KeyboardInterrupt):
        train(variant, slices, tmp_path / "b", kill_at=8, checkpoint_every=0)
    resumed, again, calls = train(variant, slices, tmp_path / "b", seed=9, checkpoint_every=0)
    assert calls == 13
    assert again == result
    assert sha256(straight) == sha256(resumed)
    assert sha256(straight) != sha256(build(cross_slice=variant))


@pytest.mark.parametrize("sampler", registry().names("sampler"))
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_takes_every_sampler(variant, sampler, slices, tmp_path):
    before = build(cross_slice=variant).encoder().state_dict()
    plan = {"epochs": 2, "slices_per_volume": 1}
    objective, result, calls = train(variant, slices, tmp_path, sampler, **plan)
    assert (result.steps, calls) == (2, 2)
    after = objective.encoder().state_dict()
    assert any(not torch.equal(after[key], before[key]) for key in before)


@pytest.mark.parametrize("variant", VARIANTS)
def test_bf16_trains_and_keeps_the_state_in_float32(variant, slices, tmp_path):
    objective, _, _ = train(variant, slices, tmp_path, epochs=1, precision="bf16-mixed")
    state = objective.state_dict().values()
    assert all(bool(torch.isfinite(x).all()) for x in state)
    assert not any(x.dtype == torch.bfloat16 for x in state)


OTHER = {  # a second value of every field, away from the default and from conftest's small one
    "dino_weight": 0.5,
    "ibot_weight": 0.5,
    "koleo_weight": 0.7,
    "cross_slice": "dense",
    "cross_weight": 0.9,
    "contrast_dim": 5,
    "contrast_temp": 0.4,
    "queue_size": 40,
    "exclude_negatives": "volume",
    "prototypes": 14,
    "patch_prototypes": 14,
    "hidden": 12,
    "bottleneck": 5,
    "norm_last_layer": True,
    "freeze_last_layer": 0.0,
    "student_temp": 0.3,
    "teacher_temp": 0.2,
    "warmup_teacher_temp": 0.1,
    "warmup": 0.0,
    "center_momentum": 0.1,
    "momentum": 0.5,
    "mask_probability": 1.0,
    "mask_ratio": (0.5, 0.5),
    "min_visible": 0.9,
    "tissue_patch": 0.0,
    "crop_size": (20, 12),
    "crop_scale": (0.3, 0.6),
    "crop_tissue": 0.5,
    "local_views": 1,
    "local_size": 12,
    "local_scale": (0.1, 0.2),
    "local_tissue": 0.5,
    "tries": 3,
    "aspect": (1.0, 1.0),
    "flip": 0.1,
    "rotation": 10.0,
    "p_rotation": 0.5,
    "brightness": 0.1,
    "contrast": 0.1,
    "p_jitter": 0.2,
    "blur": (0.5, 1.0),
    "p_blur": 0.9,
}
OF_VIEWS = list(OTHER)[list(OTHER).index("crop_size") :]


def trace(**changes):
    """Views and losses of a few steps on fixed batches: all that a setting can show."""
    objective = build(**changes)
    trained = [p for p in objective.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.3)
    losses = []
    for step, progress in enumerate(PROGRESS):
        loss = objective(batch(objective, seed=step)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        objective.after_step(progress)
        losses.append(loss.item())
    return objective.views, losses


@pytest.fixture(scope="module")
def default():
    found = trace()
    assert found == trace()
    return found


@pytest.mark.parametrize("field", OTHER)
def test_every_config_field_changes_something(field, default):
    fields = registry().load("objective", "mammodino").Config.model_fields
    assert OTHER[field] != SMALL.get(field, fields[field].default)
    views, losses = trace(**{field: OTHER[field]})
    if field in OF_VIEWS:
        assert views != default[0]
    else:
        assert losses != default[1]


def test_no_setting_is_left_out_above():
    assert set(OTHER) == set(registry().load("objective", "mammodino").Config.model_fields)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_a_loss_of_its_own(variant):
    found = {v: trace(cross_slice=v)[1] for v in VARIANTS}
    assert all(found[v] != found[variant] for v in VARIANTS if v != variant)


WRONG = [
    {"dino_weight": 0.0},
    {"ibot_weight": -1.0},
    {"koleo_weight": -0.1},
    {"cross_slice": "adjacent"},
    {"cross_weight": 0.0},
    {"contrast_temp": 0.0},
    {"queue_size": 0},
    {"exclude_negatives": "slice"},
    {"prototypes": 1},
    {"teacher_temp": 0.0},
    {"warmup": 1.5},
    {"momentum": 1.1},
    {"mask_probability": 1.1},
    {"mask_ratio": (0.5, 0.1)},
    {"mask_ratio": (0.0, 0.5)},
    {"min_visible": 1.0},
    {"tissue_patch": 1.5},
    {"crop_size": 4},
    {"crop_size": (64, 4)},
    {"crop_size": (64,)},
    {"crop_scale": (0.5, 0.2)},
    {"local_views": -1},
    {"tries": 0},
    {"aspect": (0.0, 1.0)},
    {"blur": (2.0, 0.1)},
    {"min_tissue": 0.3},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        registry().load("objective", "mammodino").Config(**wrong)
