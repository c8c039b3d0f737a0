from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from lightly.loss import DINOLoss, IBOTPatchLoss, KoLeoLoss
from torch.nn import functional as F

from dbtssl.api import info_nce, rankme

from .conftest import VARIANTS, batch, build


def ready(**changes):
    """An objective whose teacher is not its student and whose centres are not 0."""
    objective = build(teacher_temp=0.06, warmup=0.0, **changes)
    g = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in objective.teacher.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=g))
    objective.image_loss.center.copy_(torch.randn(1, 1, 12, generator=g) / 20)
    if objective.patch_center is not None:
        objective.patch_center.value.copy_(torch.randn(10, generator=g) / 20)
    return objective


def by_hand(objective, data):
    """The terms from lightly's losses, view by view, from a copy."""
    other = copy.deepcopy(objective)
    c, n = other.config, len(data.views[0])
    student, teacher = other.student, other.teacher.module
    large = 2 if c.cross_slice == "none" else 3
    _, masks = other._masks(data)
    t = [teacher(view) for view in data.views[:large]]
    s = [student(view, mask) for view, mask in zip(data.views[:large], masks, strict=True)]
    local = [student(view).image for view in data.views[large:]]

    def head(network, name, x):
        return network.heads[name](x)

    dino = DINOLoss(12, student_temp=0.1)
    dino.center.copy_(other.image_loss.center)
    terms = {
        "dino": dino(
            [head(teacher, "image", x.image) for x in t[:2]],
            [head(student, "image", x) for x in [s[0].image, s[1].image, *local]],
            teacher_temp=0.06,
        ),
        "koleo": KoLeoLoss()(s[0].image) + KoLeoLoss()(s[1].image),
    }
    mask = torch.cat(masks[:2])
    flat = mask.flatten(1)
    ibot = IBOTPatchLoss(10, teacher_temp=0.06, student_temp=0.1)
    ibot.center.center.copy_(other.patch_center.value)
    terms["ibot"] = ibot(
        head(teacher, "patch", torch.cat([t[0].patches, t[1].patches])[flat]),
        head(student, "patch", torch.cat([s[0].patches, s[1].patches])[flat]),
        mask,
    )
    if c.cross_slice == "consistency":
        both = []
        for a, b in ((0, 2), (2, 0)):
            logits = head(teacher, "image", t[a].image) - other.image_loss.center[0]
            p = torch.softmax(logits / 0.06, dim=1)
            log_q = torch.log_softmax(head(student, "image", s[b].image) / 0.1, dim=1)
            both.append(-(p * log_q).sum(dim=1).mean())
        terms["consistency"] = sum(both) / 2
    if c.cross_slice == "contrastive":
        q = F.normalize(head(student, "contrast", s[0].image), dim=1)
        k = F.normalize(head(teacher, "contrast", t[2].image), dim=1)
        terms["contrastive"] = info_nce(q, k, other.contrast.queue.keys, c.contrast_temp)
    if c.cross_slice == "dense":
        rows = []
        for row in range(n):
            if data.volume[0][row] != data.volume[2][row]:
                continue
            each = []
            for a, b in ((0, 2), (2, 0)):
                for at in range(16):
                    y, x = divmod(at, 4)
                    if data.tissue[0][row, 0, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4].all():
                        logits = head(teacher, "patch", t[a].patches[row, at][None])
                        p = torch.softmax((logits - other.patch_center.value) / 0.06, dim=1)
                        out = head(student, "patch", s[b].patches[row, at][None])
                        each.append(-(p * torch.log_softmax(out / 0.1, dim=1)).sum())
            rows.append(sum(each) / len(each))
        terms["dense"] = sum(rows) / len(rows)
    return terms, dino, ibot


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_is_lightlys_losses_and_the_term_between_slices(variant):
    weights = {"dino_weight": 0.9, "ibot_weight": 0.8, "koleo_weight": 0.2, "cross_weight": 0.6}
    objective = ready(cross_slice=variant, **weights)
    data = batch(objective, other_volume=() if variant == "none" else (3,))
    terms, dino, ibot = by_hand(objective, data)
    step = objective(data)
    for name, expected in terms.items():
        torch.testing.assert_close(step.logs[name], expected.detach(), msg=name)
    by_name = {"dino": 0.9, "ibot": 0.8, "koleo": 0.2, variant: 0.6}
    expected = sum(by_name[name] * term for name, term in terms.items())
    torch.testing.assert_close(step.loss, expected)
    torch.testing.assert_close(objective.image_loss.center, dino.center)
    if variant != "dense":  # there its tissue is in the centre too
        torch.testing.assert_close(objective.patch_center.value, ibot.center.value[0])


@pytest.mark.parametrize("variant", VARIANTS)
def test_views_and_where_they_lie(variant):
    objective = build(cross_slice=variant, crop_size=(20, 12))
    shapes = [(view.of, view.crop.shape, view.same_crop_as) for view in objective.views]
    cross = [] if variant == "none" else [("positive", (20, 12), 0 if variant == "dense" else None)]
    local = [("anchor", (8, 8), None)] * 3
    assert shapes == [("anchor", (20, 12), None)] * 2 + cross + local
    low, high = objective.views[0].crop.ratio
    assert (low, high) == pytest.approx((0.75 * 0.6, 4 / 3 * 0.6))


def test_dinov2s_own_losses_do_not_look_at_the_positive():
    """So that variants differ in the term between slices alone."""
    found = []
    for variant in VARIANTS:
        objective = build(cross_slice=variant)
        plain = build(cross_slice="none")
        for name, p in plain.student.named_parameters():
            objective.student.get_parameter(name).data.copy_(p.data)
            objective.teacher.module.get_parameter(name).data.copy_(p.data)
        data = batch(plain)
        if variant != "none":  # the same views and seeds, another between them
            data = replace(
                data,
                **{
                    key: (*x[:2], x[0], *x[2:]) if x else ()
                    for key, x in ((k, getattr(data, k)) for k in data.__dataclass_fields__)
                },
            )
        logs = objective(data).logs
        found.append([float(logs[name]) for name in ("dino", "koleo", "ibot", "masked")])
    assert all(x == pytest.approx(found[0], rel=1e-5) for x in found)


def test_a_batch_without_a_mask_does_not_poison_the_patch_loss():
    objective = ready(mask_probability=0.0)
    center = objective.patch_center.value.clone()
    step = objective(batch(objective))
    step.loss.backward()
    assert float(step.logs["ibot"]) == float(step.logs["masked"]) == 0.0
    assert torch.equal(objective.patch_center.value, center)
    assert all(p.grad is not None for p in objective.student.parameters() if p.requires_grad)
    objective.config = objective.config.model_copy(update={"mask_probability": 1.0})
    assert torch.isfinite(objective(batch(objective)).loss)


def test_air_alone_is_no_harm():
    for variant in VARIANTS:
        objective = ready(cross_slice=variant)
        data = batch(objective)
        data = replace(data, tissue=tuple(torch.zeros_like(x) for x in data.tissue))
        step = objective(data)
        assert torch.isfinite(step.loss)
        assert float(step.logs["masked"]) == 0.0


def test_the_student_sees_masks_and_the_teacher_does_not():
    objective = ready(mask_probability=1.0)
    data = batch(objective)
    _, masks = objective._masks(data)
    pixels = masks[0][:, None].float()
    hidden = F.interpolate(pixels, scale_factor=4) > 0
    assert hidden.any()
    altered = replace(data, views=(torch.where(hidden, 0.5, data.views[0]), *data.views[1:]))
    student = [objective.student(x.views[0], masks[0]).image for x in (data, altered)]
    assert torch.equal(*student)
    teacher = [objective.teacher(x.views[0]).image for x in (data, altered)]
    assert not torch.allclose(*teacher)


def test_masks_hide_tissue_alone_in_the_asked_share():
    objective = build(mask_probability=1.0, mask_ratio=(0.5, 0.5))
    data = batch(objective)
    tissue, masks = objective._masks(data)
    for t, m in zip(tissue, masks, strict=True):
        assert not (m & ~t).any()
        assert torch.equal(m.flatten(1).sum(1), t.flatten(1).sum(1) // 2)
    assert float(objective(data).logs["masked"]) == 0.5


def test_centres_survive_bf16():
    """Their steps are smaller than what bf16 resolves; centres, losses and heads stay float32."""
    objective = ready(mask_probability=1.0)
    data = batch(objective)
    with torch.autocast("cpu", torch.bfloat16):
        other = copy.deepcopy(objective)
        _, masks = other._masks(data)
        seen = other.teacher(torch.cat(data.views[:2]))
        assert seen.image.dtype == torch.float32
        network = other.teacher.module
        image = network.project("image", seen.image)
        patch = network.project("patch", seen.patches[torch.cat(masks[:2]).flatten(1)])
        before = objective.patch_center.value.clone()
        step = objective(data)
    assert {image.dtype, patch.dtype, step.loss.dtype} == {torch.float32}
    expected = 0.9 * before + 0.1 * patch.mean(dim=0)
    torch.testing.assert_close(objective.patch_center.value, expected, atol=1e-6, rtol=1e-5)
    rounded = 0.9 * before + 0.1 * patch.bfloat16().mean(dim=0).float()
    assert not torch.allclose(expected, rounded, atol=1e-6, rtol=1e-5)
    center = 0.9 * other.image_loss.center[0, 0] + 0.1 * image.mean(dim=0)
    torch.testing.assert_close(objective.image_loss.center[0, 0], center, atol=1e-6, rtol=1e-5)


def test_what_the_log_says_of_collapse():
    objective = ready()
    data = batch(objective)
    features = objective.teacher(data.views[0]).image
    logits = objective.teacher.module.project(
        "image", objective.teacher(torch.cat(data.views[:2])).image
    )
    p = torch.softmax((logits - objective.image_loss.center[0]) / 0.06, dim=1)
    logs = objective(data).logs
    entropy = -(p * p.log()).sum(dim=1).mean()
    torch.testing.assert_close(logs["teacher_entropy"], entropy)
    mean = p.mean(dim=0)
    information = -(mean * mean.log()).sum() - entropy
    torch.testing.assert_close(logs["teacher_information"], information, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(logs["rankme"], rankme(features))
    std = (features / features.norm(dim=1, keepdim=True)).std(dim=0).mean()
    torch.testing.assert_close(logs["feature_std"], std)


def test_progress_is_in_the_state():
    objective, other = build(), build(seed=1)
    objective(batch(objective))
    objective.after_step(0.2)
    other.load_state_dict(objective.state_dict())
    assert other.progress == 0.2
    data = batch(objective, seed=3)
    assert torch.equal(objective(data).loss, other(data).loss)
