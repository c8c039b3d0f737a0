from __future__ import annotations

import copy

import pytest
import torch
from lightly.loss import DINOLoss

from dbtssl.api import ConfigError, create_encoder
from dbtssl.plugins import registry
from dbtssl.testing.toy_objective import toy_batch
from dbtssl.training.pretraining.pretrain import PretrainConfig, pretrain

from .conftest import build


def outputs(objective, data):
    """Teacher's and student's outputs, view by view, from a copy whose batch statistics may move."""
    other = copy.deepcopy(objective)
    whole, local = torch.cat(data.views[:2]), torch.cat(data.views[2:])
    teacher, student = other.teacher(whole), other.student(whole, local)
    return list(teacher.chunk(2)), list(student.chunk(5))


@pytest.fixture
def objective():
    made = build("dino", teacher_temp=0.06, warmup_teacher_temp=0.06)
    made.loss.center.copy_(torch.linspace(-0.1, 0.1, 6).view(1, 1, 6))
    return made


def test_the_loss_is_lightlys_and_the_cross_entropy_of_every_other_view(objective):
    data = toy_batch(objective)
    teacher, student = outputs(objective, data)
    center = objective.loss.center.clone()
    theirs = DINOLoss(6, teacher_temp=0.06)
    theirs.center.copy_(center)
    expected = theirs(teacher, student)
    loss = objective(data).loss
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(objective.loss.center, theirs.center)

    terms = []
    for t, target in enumerate(teacher):
        p = torch.softmax((target - center[0]) / 0.06, dim=1)
        for s, logits in enumerate(student):
            if s != t:
                terms.append(-(p * torch.log_softmax(logits / 0.1, dim=1)).sum(dim=1).mean())
    assert len(terms) == 2 * 5 - 2
    torch.testing.assert_close(loss, torch.stack(terms).mean())


def test_two_global_views_alone_are_enough():
    objective = build("dino", local_views=0)
    assert len(objective.views) == 2
    assert torch.isfinite(objective(toy_batch(objective)).loss)


def test_views_are_of_anchor_and_positive_in_turn(objective):
    assert [view.of for view in objective.views] == [
        "anchor",
        "positive",
        "anchor",
        "positive",
        "anchor",
    ]
    assert [view.crop.size for view in objective.views] == [20, 20, 12, 12, 12]


def test_the_center_survives_bf16(objective):
    """Its steps are smaller than what bf16 resolves; centre, loss and heads stay float32."""
    data = toy_batch(objective)
    with torch.autocast("cpu", torch.bfloat16):
        other = copy.deepcopy(objective)
        teacher = other.teacher(torch.cat(data.views[:2]))
        before = objective.loss.center.clone()
        step = objective(data)
    assert (teacher.dtype, step.loss.dtype) == (torch.float32, torch.float32)
    expected = 0.9 * before + 0.1 * teacher.mean(dim=0)
    torch.testing.assert_close(objective.loss.center, expected, atol=1e-6, rtol=1e-6)
    assert objective.loss.center.dtype == torch.float32
    rounded = 0.9 * before + 0.1 * teacher.bfloat16().mean(dim=0).float()
    assert not torch.allclose(expected, rounded, atol=1e-6, rtol=1e-6)


def test_teacher_and_student_start_equal_heads_included(objective):
    student, teacher = objective.student.state_dict(), objective.teacher.module.state_dict()
    assert student.keys() == teacher.keys()
    assert any("last_layer" in name for name in student)
    assert all(torch.equal(student[name], teacher[name]) for name in student)
    assert not any(p.requires_grad for p in objective.teacher.parameters())


def test_teacher_temperature_rises_linearly_and_stays():
    objective = build("dino", warmup_teacher_temp=0.04, teacher_temp=0.07, warmup=0.3)
    found = [objective.temperature_at(p) for p in (0.0, 0.1, 0.15, 0.3, 1.0)]
    assert found == pytest.approx([0.04, 0.05, 0.055, 0.07, 0.07])
    assert build("dino", warmup=0.0, teacher_temp=0.07).temperature_at(0.0) == 0.07


def test_the_temperature_of_a_step_follows_the_progress():
    cold, warm = (build("dino", warmup=0.5, teacher_temp=0.07) for _ in range(2))
    warm.after_step(1.0)
    assert not torch.equal(cold(toy_batch(cold)).loss, warm(toy_batch(warm)).loss)


def test_prototypes_are_frozen_at_first(slices, tmp_path):
    """No step and no decay while the share lasts, and both after it; AdamW moves what it has a gradient for."""
    config = PretrainConfig(
        epochs=2, batch_size=8, optimizer="adamw", lr=0.01, weight_decay=0.1, clip_norm=3.0
    )
    for share, moves in ((1.0, False), (0.0, True)):
        objective = build("dino", freeze_last_layer=share, norm_last_layer=False)
        layer = objective.student.head.last_layer
        before = [p.detach().clone() for p in layer.parameters()]
        run = {"seed": 3, "folder": tmp_path / str(share), "accelerator": "cpu"}
        pretrain(objective, registry().build("sampler", "same-slice", {}), slices, config, **run)
        same = [torch.equal(p, old) for p, old in zip(layer.parameters(), before, strict=True)]
        assert same == [not moves] * 2


def test_the_share_of_frozen_prototypes_ends():
    objective = build("dino", freeze_last_layer=0.1)
    for progress, moves in ((0.05, False), (0.1, True)):
        objective.after_step(progress)
        objective.zero_grad()
        objective(toy_batch(objective)).loss.backward()
        objective.before_step()
        assert (objective.student.head.last_layer.weight_v.grad is not None) == moves
        assert objective.student.encoder.one.weight.grad is not None


def test_lengths_of_prototypes_are_learned_where_asked():
    fixed, free = build("dino"), build("dino", norm_last_layer=False)
    assert not fixed.student.head.last_layer.weight_g.requires_grad
    assert free.student.head.last_layer.weight_g.requires_grad


def test_the_teachers_encoder_is_kept_and_can_be_trained():
    objective = build("dino")
    with torch.no_grad():
        objective.teacher.module.encoder.one.weight.fill_(0.25)
    kept = objective.encoder()
    assert bool((kept.one.weight == 0.25).all())
    assert all(p.requires_grad for p in kept.parameters())
    assert kept is not objective.teacher.module.encoder


def test_progress_is_in_the_state():
    objective, other = build("dino"), build("dino", seed=1)
    objective(toy_batch(objective))
    objective.after_step(0.2)
    other.load_state_dict(objective.state_dict())
    assert other.progress == 0.2
    data = toy_batch(objective, seed=3)
    assert torch.equal(objective(data).loss, other(data).loss)


def test_a_transformer_of_one_size_is_refused():
    args = {"depth": 1, "embed_dim": 12, "num_heads": 2, "img_size": 32}
    vit = create_encoder("vit_tiny_patch16_224", **args)
    with pytest.raises(ConfigError, match="views of 16 and 32 pixels, but the encoder takes one"):
        build("dino", encoder=vit, crop_size=32, local_size=16)
    vit = create_encoder("vit_tiny_patch16_224", **args, dynamic_img_size=True)
    objective = build("dino", encoder=vit, crop_size=32, local_size=16)
    assert torch.isfinite(objective(toy_batch(objective)).loss)
