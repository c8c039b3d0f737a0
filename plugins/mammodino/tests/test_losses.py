"""The terms on small tensors: against lightly's losses, and written out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from dbtssl_mammodino.losses import (
    Center,
    Contrast,
    consistency,
    counted_patches,
    counted_rows,
    cross_entropy,
    information,
    koleo,
    patch_loss,
)
from lightly.loss import DINOLoss, IBOTPatchLoss, KoLeoLoss
from torch.nn import functional as F

from .conftest import batch, build


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_cross_entropy_on_worked_numbers():
    teacher, student = torch.tensor([[0.1, 0.0]]), torch.tensor([[0.0, 0.3]])
    center = torch.tensor([0.1, 0.05])
    p = [1 / (1 + math.exp(-0.5)), 1 / (1 + math.exp(0.5))]  # (0, -0.05) / 0.1
    log_q = [-math.log(1 + math.exp(1.5)), -math.log(1 + math.exp(-1.5))]  # (0, 0.3) / 0.2
    expected = -(p[0] * log_q[0] + p[1] * log_q[1])
    assert cross_entropy(teacher, student, center, 0.1, 0.2).item() == pytest.approx(expected)


def test_consistency_is_dinos_loss_of_two_views():
    """lightly's takes each pair of views but a view with itself."""
    teacher, student = [[random(5, 7, seed=s + k) for k in (0, 1)] for s in (0, 10)]
    theirs = DINOLoss(7, student_temp=0.1)
    theirs.center.copy_(random(1, 1, 7, seed=20) / 10)
    center = theirs.center[0, 0].clone()
    expected = theirs(teacher, student, teacher_temp=0.06)
    found = consistency(tuple(teacher), tuple(student), center, 0.06, 0.1)
    torch.testing.assert_close(found, expected)


def test_patch_loss_is_lightlys_ibot():
    mask = torch.rand(6, 3, 4, generator=torch.Generator().manual_seed(1)) < 0.4
    mask[2] = False
    n = int(mask.sum())
    teacher, student = random(n, 9, seed=2), random(n, 9, seed=3)
    theirs = IBOTPatchLoss(9, teacher_temp=0.05, student_temp=0.1)
    theirs.center.center.copy_(random(1, 9, seed=4) / 10)
    center = theirs.center.value[0].clone()
    expected = theirs(teacher, student, mask)
    found = patch_loss(teacher, student, mask.flatten(1), center, 0.05, 0.1, 6)
    torch.testing.assert_close(found, expected)

    ours = Center(9, 0.9)
    ours.value.copy_(center)
    ours.update(teacher)
    torch.testing.assert_close(ours.value, theirs.center.value[0])


def test_patch_loss_by_hand():
    counted = torch.tensor([[True, True, False], [False, False, True], [False] * 3])
    teacher, student, center = random(3, 4, seed=1), random(3, 4, seed=2), random(4, seed=3)
    each = []
    for t, s in zip(teacher, student, strict=True):
        p = torch.softmax((t - center) / 0.2, dim=0)
        each.append(-(p * torch.log_softmax(s / 0.1, dim=0)).sum())
    expected = ((each[0] + each[1]) / 2 + each[2]) / 3
    torch.testing.assert_close(patch_loss(teacher, student, counted, center, 0.2, 0.1, 3), expected)


def test_no_masked_patch_is_no_loss_and_leaves_the_centre():
    """lightly's centre is NaN from then on."""
    nothing, counted = torch.zeros(0, 4, requires_grad=True), torch.zeros(2, 3, dtype=torch.bool)
    center = Center(4, 0.9)
    center.value.copy_(random(4))
    before = center.value.clone()
    loss = patch_loss(torch.zeros(0, 4), nothing, counted, center.value, 0.1, 0.1, 2)
    loss.backward()
    center.update(torch.zeros(0, 4))
    assert loss.item() == 0.0
    assert torch.equal(center.value, before)
    theirs = IBOTPatchLoss(4)
    theirs(torch.zeros(0, 4), torch.zeros(0, 4), torch.zeros(2, 1, 3, dtype=torch.bool))
    assert theirs.center.value.isnan().all()


def test_the_centre_is_a_moving_average():
    center = Center(2, 0.75)
    center.update(torch.tensor([[1.0, 0.0], [3.0, 2.0]]))
    center.update(torch.tensor([[0.0, 4.0]]))
    assert center.value.tolist() == [0.75 * 0.5, 0.75 * 0.25 + 0.25 * 4.0]


def test_koleo_is_lightlys():
    x = random(12, 5)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    found, expected = koleo(mine), KoLeoLoss()(theirs)
    torch.testing.assert_close(found, expected)
    found.backward()
    expected.backward()
    torch.testing.assert_close(mine.grad, theirs.grad)


def test_koleo_by_hand_and_without_a_neighbour():
    x = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 3.0]])  # 45 degrees to the third, both
    chord = 2 * math.sin(math.pi / 8)
    assert koleo(x).item() == pytest.approx(-math.log(chord), abs=1e-5)
    assert koleo(x[:1]).item() == 0.0


def test_koleo_is_not_rounded_by_autocast():
    """Of features that lie close, as class tokens do, bf16 finds other neighbours."""
    x = 1.0 + 0.03 * random(64, 32)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, found = KoLeoLoss()(x), koleo(x)
    assert torch.equal(found, koleo(x))
    assert abs(float(rounded - found)) > 1e-3


def test_information_on_worked_numbers():
    far = 1e3 * torch.eye(4)
    assert information(far).item() == pytest.approx(math.log(4), abs=1e-5)
    assert information(far[:2]).item() == pytest.approx(math.log(2), abs=1e-5)
    assert information(torch.zeros(5, 4)).item() == pytest.approx(0.0, abs=1e-6)
    assert information(far[[1, 1, 1]]).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("exclude", ["none", "volume", "breast", "patient"])
def test_contrast_is_info_nce_without_own_keys(exclude):
    objective = build(cross_slice="contrastive")
    data = batch(objective)
    contrast = Contrast(5, 12, 0.3, exclude)
    keys = F.normalize(random(12, 5, seed=1), dim=1)
    contrast.queue.enqueue(
        keys, torch.arange(4, 16), torch.arange(4, 16) // 2, torch.arange(4, 16) // 4
    )
    before = contrast.queue.keys.clone()
    query, key = random(8, 5, seed=2), random(8, 5, seed=3)
    terms = []
    for row in range(8):
        q, k = query[row] / query[row].norm(), key[row] / key[row].norm()
        size = {"none": 0, "volume": 1, "breast": 2, "patient": 4}[exclude]
        negatives = [before[j] for j in range(12) if not size or (j + 4) // size != row // size]
        logits = torch.stack([q @ k, *(q @ other for other in negatives)]) / 0.3
        terms.append(-logits.log_softmax(0)[0])
    assert len(negatives) == {"none": 12, "volume": 11, "breast": 10, "patient": 8}[exclude]
    loss = contrast(query, key, data)
    torch.testing.assert_close(loss, torch.stack(terms).mean(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(contrast.queue.keys[:8], F.normalize(key, dim=1))
    assert contrast.queue.patient[:8].tolist() == [0] * 4 + [1] * 4


def test_only_tissue_of_one_volume_counts_for_dense():
    objective = build(cross_slice="dense")
    data = batch(objective, n=4, other_volume=(1,))
    anchor = torch.tensor([[[True, False], [True, True]]]).expand(4, 2, 2).clone()
    positive = anchor.clone()
    positive[:, 1, 1] = False
    anchor[3] = False
    counted = counted_patches(data, anchor, positive)
    own = [True, False, True, False]
    assert counted.tolist() == [own, [False] * 4, own, [False] * 4]
    assert float(counted_rows(counted)) == 2.0
    assert float(counted_rows(torch.zeros_like(counted))) == 1.0
