import torch
from torch import nn

from dbtssl.nn.teacher import MomentumTeacher


def test_average_follows_its_closed_form() -> None:
    student = nn.Linear(3, 2)
    teacher = MomentumTeacher(student)
    start = student.weight.detach().clone()
    with torch.no_grad():
        student.weight.add_(1.0)
    for _ in range(20):
        teacher.update(student, 0.9)
    expected = student.weight - 0.9**20  # what is left of the distance of 1
    torch.testing.assert_close(teacher.module.weight, expected)
    assert not torch.equal(teacher.module.weight, start)


def test_momentum_one_stays_and_zero_copies() -> None:
    student = nn.Linear(3, 2)
    teacher = MomentumTeacher(student)
    with torch.no_grad():
        student.weight.mul_(2.0)
    before = teacher.module.weight.clone()
    teacher.update(student, 1.0)
    torch.testing.assert_close(teacher.module.weight, before, rtol=0, atol=0)
    teacher.update(student, 0.0)
    torch.testing.assert_close(teacher.module.weight, student.weight.detach())


def test_buffers_are_not_averaged_and_no_gradient_flows() -> None:
    student = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    teacher = MomentumTeacher(student)
    student(torch.rand(4, 3))
    teacher.update(student, 0.0)
    torch.testing.assert_close(teacher.module[1].running_mean, torch.zeros(2))
    assert student[1].running_mean.abs().sum() > 0
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(p.requires_grad for p in student.parameters())
    assert not teacher(torch.rand(4, 3)).requires_grad
