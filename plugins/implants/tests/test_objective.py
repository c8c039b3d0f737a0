from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from dbtssl_implants.config import KINDS
from dbtssl_implants.losses import presence_loss, view_contrast
from dbtssl_implants.objects import FOREIGN, WARP
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from dbtssl.plugins import registry
from dbtssl.testing.resume import check_resume
from dbtssl.training.pretraining.pairs import Pairs, finish
from dbtssl.training.pretraining.pretrain import PretrainConfig, pretrain

from .conftest import build

CONFIG = registry().load("objective", "implants").Config

STILL = (0.4, 0.0, 0.3, 0.0, 0.3, 0.0)  # kinds that leave the tissue round them where it is


def batch_of(slices, objective, sampler="inter-slice", epoch=0, n=8):
    positives = registry().build("sampler", sampler, {})
    pairs = Pairs(slices, positives, objective.views, 3)
    return finish(pairs.__getitems__([(epoch, i) for i in range(n)]), objective.views)


def test_20_steps_equal_7_and_a_kill_and_13(slices, tmp_path):
    check_resume(build, tmp_path, slices=slices)


def test_bf16_trains_and_keeps_the_state_in_float32(slices, tmp_path):
    objective = build()
    positives = registry().build("sampler", "same-slice", {})
    config = PretrainConfig(epochs=1, batch_size=8, precision="bf16-mixed", optimizer="adamw")
    pretrain(objective, positives, slices, config, seed=3, folder=tmp_path, accelerator="cpu")
    state = objective.state_dict().values()
    assert all(bool(torch.isfinite(x).all()) for x in state)
    assert not any(x.dtype == torch.bfloat16 for x in state)


def test_four_crops_a_pair_two_of_them_painted(slices):
    objective = build()
    images, masks = objective._crops(batch_of(slices, objective))
    assert images.shape == masks.shape == (32, 1, 24, 24)
    assert not masks[:16].any()
    assert (masks[16:].amax(dim=(1, 2, 3)) > 0.5).float().mean() > 0.5


def test_twins_differ_by_the_object_alone(slices):
    objective = build(smallest=1.0, flip=0.0, margin=1.0, kinds=STILL)
    images, masks = objective._crops(batch_of(slices, objective))
    change = (images[16:] - images[:16]).abs()
    assert change[masks[16:] < 1e-6].max() < 1e-4
    assert change[masks[16:] > 0.5].mean() > 0.01


def test_what_is_painted_is_easy_at_first_and_falls_to_its_own_contrast_by_half_time():
    objective = build(easy=4.0)
    seen = [float(objective.visibility)]
    for progress in (0.25, 0.5, 1.0):
        objective.after_step(progress)
        seen.append(float(objective.visibility))
    assert seen == [4.0, 2.0, 1.0, 1.0]
    assert "visibility" in objective.state_dict()


def test_contrast_follows_visibility(slices):
    objective = build(
        smallest=1.0,
        flip=0.0,
        margin=1.0,
        noise=0.0,
        amplitude=(0.1, 0.1),
        kinds=(1, 0, 0, 0, 0, 0),
    )
    batch = batch_of(slices, objective)
    batch = replace(batch, views=[0.5 + 0.01 * v for v in batch.views])  # far from 0 and 1
    images, masks = objective._crops(batch)
    strong, same = objective._crops(batch, 3.0)
    assert torch.equal(masks, same)
    once, thrice = images[16:] - images[:16], strong[16:] - strong[:16]
    painted = masks[16:] > 0.5
    torch.testing.assert_close(thrice[painted], 3.0 * once[painted], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", [FOREIGN, WARP])
def test_noise_is_as_rough_where_tissue_was_moved_as_elsewhere(slices, kind):
    """The noise of a view is added last: else its local variance alone tells where a pull or a blend is."""
    kinds = tuple(float(k == kind) for k in range(len(KINDS)))
    whole = {"smallest": 1.0, "flip": 0.0, "margin": 1.0, "crop_size": 48, "radius": (15.0, 20.0)}
    objective = build(kinds=kinds, noise=0.05, p_jitter=0.0, **whole)
    positives = registry().build("sampler", "same-slice", {})
    raw = Pairs(slices, positives, objective.views, 3).__getitems__([(0, i) for i in range(96)])
    raw["views"] = [torch.full_like(x, 0.5) for x in raw["views"]]
    raw["tissue"] = [torch.ones_like(x) for x in raw["tissue"]]
    images, masks = (x[192:] for x in objective._crops(finish(raw, objective.views)))
    laplacian = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
    rough = F.avg_pool2d(F.conv2d(images, laplacian[None, None]) ** 2, 5, 1).flatten()
    mask = masks[:, :, 3:-3, 3:-3].flatten()
    clear = (mask < 0.05) | (mask > 0.5)
    assert roc_auc_score(mask[clear] > 0.5, rough[clear]) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("harmless", ["decoys", "stretched"])
def test_what_is_harmless_is_in_all_four_crops_and_counts_as_absent(slices, harmless):
    """With it the masks are what they were; clean crops change, and twins still differ by the object alone."""
    whole = {"smallest": 1.0, "flip": 0.0, "margin": 1.0, "kinds": STILL}
    without, objective = build(**whole), build(**whole, **{harmless: 1.0})
    batch = batch_of(slices, objective)
    before, masks = without._crops(batch)
    images, same = objective._crops(batch)
    assert torch.equal(masks, same)
    moved = (images - before).abs().amax(dim=(1, 2, 3)) > 1e-3
    assert bool(moved[:8].all())
    assert moved[8:16].float().mean() > 0.5  # the other slice, where a thin one may be out of focus
    change = (images[16:] - images[:16]).abs()
    assert change[masks[16:] < 1e-6].max() < 1e-4


def test_a_share_of_the_spots_has_decoys(slices):
    none, some = build(), build(decoys=0.5)
    batch = batch_of(slices, none, n=64)
    moved = (some._crops(batch)[0] - none._crops(batch)[0]).abs().amax(dim=(1, 2, 3)) > 0
    assert 0.25 < moved[:64].float().mean() < 0.75
    assert torch.equal(build(decoys=0.0)._crops(batch)[0], none._crops(batch)[0])


def test_the_loss_is_the_weighted_sum_and_the_heads_say_what_is_asked(slices):
    objective = build(presence=1.0, place=0.0, contrast=0.0)
    batch = batch_of(slices, objective)
    step = objective(batch)
    images, masks = objective._crops(batch)
    present = (masks.amax(dim=(1, 2, 3)) > 0.5).float()
    said = objective.head()(objective.network(images))[:, 0]
    assert step.loss.item() == pytest.approx(
        F.binary_cross_entropy_with_logits(said, present).item(), rel=1e-5
    )
    for name in ("presence", "place", "contrast"):
        alone = build(**(dict.fromkeys(("presence", "place", "contrast"), 0.0) | {name: 2.0}))
        found = alone(batch)
        assert found.loss.item() == pytest.approx(2.0 * found.logs[f"{name}_loss"].item(), rel=1e-5)


def test_mining_takes_the_hardest_of_the_crops_without_object(slices):
    objective = build(place=0.0, contrast=0.0, hardest=0.25)
    batch = batch_of(slices, objective)
    images, masks = objective._crops(batch)
    present = (masks.amax(dim=(1, 2, 3)) > 0.5).float()
    said = objective.head()(objective.network(images))[:, 0]
    expected = presence_loss(said, present, 0.25).item()
    assert objective(batch).loss.item() == pytest.approx(expected, rel=1e-5)


def test_pairs_of_two_volumes_are_painted_in_focus_and_take_no_part_in_the_contrast(slices):
    objective = build(presence=0.0, place=0.0, contrast=1.0)
    batch = batch_of(slices, objective, "metadata-pairs")
    apart = replace(batch, volume=(batch.volume[0], batch.volume[0] + 100))
    assert objective(apart).loss.item() == 0.0
    away = replace(apart, z=(apart.z[0], apart.z[0] + 1000))  # slices of other volumes say nothing
    assert torch.equal(objective._crops(apart)[0], objective._crops(away)[0])
    assert objective(batch_of(slices, objective)).loss.item() > 0.0


def test_clean_crops_of_two_volumes_are_drawn_together_where_asked(slices):
    """They take part in that loss alone; pairs of one volume in the twin contrast alone."""
    weights = {"presence": 0.0, "place": 0.0, "contrast": 0.0}
    objective = build(**weights, across=2.0)
    batch = batch_of(slices, objective)
    assert objective(batch).loss.item() == 0.0
    apart = replace(batch, volume=(batch.volume[0], batch.volume[0] + 100))
    z = objective.projection(objective.network(objective._crops(apart)[0]))
    expected = view_contrast(z[:8], z[8:16], 0.2, torch.ones(8, dtype=torch.bool)).item()
    found = objective(apart)
    assert found.loss.item() == pytest.approx(2.0 * expected, rel=1e-5)
    assert "across_loss" not in build()(batch).logs


def test_a_far_slice_of_the_volume_shows_the_object_fainter(slices):
    objective = build(smallest=1.0, flip=0.0, margin=1.0, slice_mm=60.0)
    batch = batch_of(slices, objective)
    far = replace(batch, z=(torch.zeros(8), torch.full((8,), 2.0)))
    _, masks = objective._crops(far)
    anchor, positive = masks[16:24], masks[24:]
    assert positive.amax(dim=(1, 2, 3)).mean() < 0.7 * anchor.amax(dim=(1, 2, 3)).mean()


def test_it_learns_to_find_what_was_painted(slices):
    """Bright blobs on faint noise: a chance of one half at first, since half of the crops are painted."""
    objective = build(kinds=(1.0, 0.0, 0.0, 0.0, 0.0, 0.0), amplitude=(3.0, 4.0), p_dark=0.0)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-2)
    right = []
    for step in range(60):
        torch.manual_seed(step)
        batch = batch_of(slices, objective, epoch=step)
        faint = tuple(0.4 + 0.05 * torch.randn_like(x) for x in batch.views)
        found = objective(replace(batch, views=faint))
        optimizer.zero_grad()
        found.loss.backward()
        optimizer.step()
        right.append(float(found.logs["presence_right"]))
    assert sum(right[-10:]) / 10 > 0.8, right


@pytest.mark.parametrize(
    "wrong",
    [
        {"kinds": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)},
        {"kinds": (1.0, -1.0, 0.0, 0.0, 0.0, 0.0)},
        {"kinds": (1.0,)},
        {"radius": (9.0, 3.0)},
        {"radius": (0.0, 3.0)},
        {"amplitude": (2.0, 1.0)},
        {"crop_scale": (0.5, 1.5)},
        {"margin": 0.5},
        {"smallest": 0.0},
        {"p_dark": 1.5},
        {"decoys": 1.5},
        {"hardest": 0.0},
        {"across": -1.0},
        {"dense": -1.0},
        {"hardest": 1.5},
        {"temperature": 0.0},
        {"slice_mm": 0.0},
        {"amplitudes": (1.0, 2.0)},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        CONFIG(**wrong)


def test_the_kept_encoder_is_the_backbone_and_the_head_one_logit():
    objective = build()
    assert objective.encoder()(torch.rand(2, 1, 24, 24)).shape == (2, 10)
    assert objective.head()(torch.rand(2, 10)).shape == (2, 1)
