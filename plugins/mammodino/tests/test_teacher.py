"""Student and teacher: heads, momentum, temperature, and what is frozen."""

from __future__ import annotations

import pytest
import torch

from .conftest import batch, build


@pytest.mark.parametrize(
    ("changes", "heads"),
    [
        ({"cross_slice": "none"}, {"image", "patch"}),
        ({"cross_slice": "contrastive"}, {"image", "patch", "contrast"}),
        ({"cross_slice": "consistency", "ibot_weight": 0.0}, {"image"}),
        ({"cross_slice": "dense", "ibot_weight": 0.0}, {"image", "patch"}),
    ],
)
def test_there_are_no_heads_that_nothing_trains(changes, heads):
    objective = build(**changes)
    assert set(objective.student.heads) == heads
    step = objective(batch(objective))
    step.loss.backward()
    assert all(p.grad is not None for p in objective.student.parameters() if p.requires_grad)
    assert all(p.grad is None for p in objective.teacher.parameters())


def test_image_and_patch_heads_are_two():
    heads = build().student.heads
    assert heads["image"].last_layer.weight_v.shape == (12, 8)
    assert heads["patch"].last_layer.weight_v.shape == (10, 8)
    assert not set(heads["image"].parameters()) & set(heads["patch"].parameters())


def test_teacher_and_student_start_equal_heads_and_all():
    objective = build()
    student, teacher = objective.student.state_dict(), objective.teacher.module.state_dict()
    assert student.keys() == teacher.keys()
    assert all(torch.equal(student[name], teacher[name]) for name in student)
    assert not any(p.requires_grad for p in objective.teacher.parameters())


def test_the_teacher_follows_by_the_momentum():
    objective = build(momentum=0.9)
    start = objective.teacher.module.mask_token.clone()
    with torch.no_grad():
        objective.student.mask_token.add_(1.0)
    objective.after_step(0.0)
    torch.testing.assert_close(objective.teacher.module.mask_token, start + 0.1)
    objective.after_step(1.0)  # by now the momentum is 1
    torch.testing.assert_close(objective.teacher.module.mask_token, start + 0.1)
    assert objective.progress == 1.0


def test_teacher_temperature_rises_linearly_and_stays():
    objective = build()
    found = [objective.temperature_at(p) for p in (0.0, 0.1, 0.15, 0.3, 1.0)]
    assert found == pytest.approx([0.04, 0.05, 0.055, 0.07, 0.07])
    assert build(warmup=0.0).temperature_at(0.0) == 0.07


def test_prototypes_are_frozen_at_first():
    objective = build(freeze_last_layer=0.1, mask_probability=1.0)
    for progress, moves in ((0.05, False), (0.1, True)):
        objective.after_step(progress)
        objective.zero_grad()
        objective(batch(objective)).loss.backward()
        for head in ("image", "patch"):
            layer = objective.student.heads[head].last_layer
            assert bool(layer.weight_v.grad.abs().sum() > 0) == moves
            assert bool(layer.weight_g.grad.abs().sum() > 0) == moves


def test_drop_path_is_the_students_alone():
    from .conftest import encoder

    objective = build(vit=encoder(drop_path_rate=0.9))
    data = batch(objective)
    mask = torch.zeros(8, 4, 4, dtype=torch.bool)
    assert objective.student.training
    assert not objective.teacher.training
    student = [objective.student(data.views[0], mask).image for _ in range(2)]
    assert not torch.equal(*student)
    teacher = [objective.teacher(data.views[0]).image for _ in range(2)]
    assert torch.equal(*teacher)


def test_the_teachers_encoder_is_kept_and_can_be_trained():
    objective = build()
    with torch.no_grad():
        objective.teacher.module.encoder.pos_embed.fill_(0.25)
    kept = objective.encoder()
    assert bool((kept.pos_embed == 0.25).all())
    assert all(p.requires_grad for p in kept.parameters())
    assert kept is not objective.teacher.module.encoder
