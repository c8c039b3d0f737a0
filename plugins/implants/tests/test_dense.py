from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from dbtssl_implants.objective import (
    EACH_PLACE,
    cut_windows,
    in_crop,
    matched_places,
    read_places,
    shared_places,
    windows,
)
from torch.nn import functional as F

from dbtssl.testing.toy_objective import toy_batch

from .conftest import build

SIDE = 64  # of the maps here: crops themselves, so that a place is a pixel
SEEDS = torch.arange(40)
NOTHING_ELSE = {"presence": 0.0, "place": 0.0, "contrast": 0.0}


def coordinates(n, size=256):
    """Images of two channels that hold the x and y of their own pixels, -1 to 1."""
    line = (2.0 * torch.arange(size) + 1.0) / size - 1.0
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y]).expand(n, 2, size, size)


def matched(smallest=0.65, shrink=1.0, **changes):
    """Coordinates in the view of matched places of both crops ``(n, EACH_PLACE, 2)``, which count, and the windows."""
    n = len(SEEDS)
    batch = replace(toy_batch(build(), n), seeds=(SEEDS, SEEDS), **changes)
    where = tuple(windows(SEEDS, crop, smallest, 0.5) for crop in (0, 1))
    for window in where:
        window[:, :, :2] *= shrink
    maps = (
        cut_windows(coordinates(n), window, SIDE).flatten(2).transpose(1, 2) for window in where
    )
    first, second, counts = matched_places(batch, tuple(maps), where)
    return (
        first.view(n, EACH_PLACE, 2),
        second.view(n, EACH_PLACE, 2),
        counts.view(n, EACH_PLACE),
        where,
    )


def test_matched_places_show_the_same_tissue_in_both_crops():
    """Crops of an image of coordinates: their values tell where in the view a place of either crop lies."""
    first, second, counts, where = matched()
    mirrored = where[0][:, 0, 0] * where[1][:, 0, 0] < 0
    assert 5 < int(mirrored.sum()) < 35
    assert bool(counts.all())
    points, _ = shared_places(where, SEEDS)
    pixel = 2.0 / SIDE  # a place next to the border is read at the centre of its pixel
    assert (first - second).abs().max() < pixel
    assert (first - points).abs().max() < pixel
    assert (first - second).abs().median() < 1e-5
    assert first.flatten(0, 1).std(dim=0).min() > 0.2


def test_places_lie_in_both_windows_and_apart():
    _, _, _, where = matched()
    points, shared = shared_places(where, SEEDS)
    assert bool(shared.all())
    for window in where:
        assert in_crop(points, window).abs().max() <= 1.0 + 1e-5
    overlap = points.amax(dim=1) - points.amin(dim=1)
    assert bool((overlap > 1.3 / 3 * 0.6).all())  # 0.6: the least that windows of 0.65 share
    again, _ = shared_places(where, SEEDS)
    other, _ = shared_places(where, SEEDS + 1)
    assert torch.equal(points, again)
    assert not torch.equal(points, other)


def test_windows_that_share_nothing_have_no_places():
    """Judged by intervals of numbers, one pair at a time."""
    _, _, counts, where = matched(smallest=0.1, shrink=0.4)
    apart = []
    for a, b in zip(*where, strict=True):
        axes = [
            abs(float(a[i, 2] - b[i, 2])) >= abs(float(a[i, i])) + abs(float(b[i, i]))
            for i in (0, 1)
        ]
        apart.append(any(axes))
    assert 0 < sum(apart) < len(apart)
    assert torch.equal(counts, ~torch.tensor(apart)[:, None].expand(-1, EACH_PLACE))


@pytest.mark.parametrize("view", [0, 1])
def test_places_in_the_air_of_either_slice_do_not_count(view):
    tissue = [torch.ones(len(SEEDS), 1, 30, 30, dtype=torch.bool) for _ in range(2)]
    tissue[view][:, :, :, 15:] = False  # x from 0
    first, _, counts, where = matched(tissue=tuple(tissue))
    points, _ = shared_places(where, SEEDS)
    assert torch.equal(counts, points[..., 0] < 0)
    assert 0.2 < counts.float().mean() < 0.8
    assert first[counts][:, 0].max() < 2.0 / SIDE


def test_pairs_of_two_volumes_do_not_count():
    ids = torch.arange(len(SEEDS))
    _, _, counts, _ = matched(volume=(ids, ids + 100 * (ids < 7)))
    assert torch.equal(counts, (ids >= 7)[:, None].expand(-1, EACH_PLACE))


def test_reading_a_map_is_torchs_bilinear_sampling():
    g = torch.Generator().manual_seed(0)
    image = torch.randn(3, 4, 5, 5, generator=g)
    at = 2.2 * torch.rand(3, 7, 2, generator=g) - 1.1
    expected = F.grid_sample(image, at[:, None], padding_mode="border", align_corners=False)
    found = read_places(image.flatten(2).transpose(1, 2), at)
    torch.testing.assert_close(found, expected[:, :, 0].transpose(1, 2), rtol=1e-5, atol=1e-5)


def test_the_loss_is_nt_xent_over_the_places_that_count():
    """Equation 1 of SimCLR, written out; features by torch's own sampling of the encoder's map."""
    objective = build(**NOTHING_ELSE, dense=2.0).eval()
    batch = toy_batch(objective, 4)
    batch.tissue[1][..., batch.tissue[1].shape[-1] // 2 :] = False
    batch = replace(batch, volume=(batch.volume[0], batch.volume[0] + torch.tensor([0, 0, 9, 0])))
    images, _ = objective._crops(batch)
    maps = objective.network.forward_features(images)
    where = tuple(objective._crops.windows(batch.seeds[0], crop) for crop in (0, 1))
    points, _ = shared_places(where, batch.seeds[0])
    rows = [(i, k) for i in (0, 1, 3) for k in range(EACH_PLACE) if points[i, k, 0] < 0]
    z = []
    for crop in (0, 1):
        at = in_crop(points, where[crop])[:, None]
        part = maps[4 * crop : 4 * crop + 4]
        found = F.grid_sample(part, at, padding_mode="border", align_corners=False).detach()
        projected = objective.dense_projection(found[:, :, 0].transpose(1, 2)).detach()
        z += [F.normalize(projected[row], dim=0) for row in rows]
    losses = []
    for i, one in enumerate(z):
        others = [math.exp(float(one @ other) / 0.2) for j, other in enumerate(z) if j != i]
        partner = z[(i + len(rows)) % len(z)]
        losses.append(-math.log(math.exp(float(one @ partner) / 0.2) / sum(others)))
    assert 5 < len(rows) < 3 * EACH_PLACE
    step = objective(batch)
    expected = sum(losses) / len(losses)
    assert step.logs["dense_loss"].item() == pytest.approx(expected, rel=1e-4)
    assert step.loss.item() == pytest.approx(2.0 * expected, rel=1e-4)


def test_where_no_place_counts_it_is_zero_and_has_a_gradient_of_zero():
    objective = build(**NOTHING_ELSE, dense=1.0)
    batch = toy_batch(objective)
    step = objective(replace(batch, volume=(batch.volume[0], batch.volume[0] + 100)))
    step.loss.backward()
    assert step.loss.item() == 0.0
    gradients = [p.grad for p in objective.dense_projection.parameters()]
    assert not any(bool(gradient.any()) for gradient in gradients)


def test_a_weight_of_zero_builds_and_changes_nothing():
    """With a weight the other parameters and losses are the same; the head and its loss come in addition."""
    without, objective = build(), build(dense=1.0)
    state, more = without.state_dict(), objective.state_dict()
    assert not any("dense" in name for name in state)
    assert more.keys() - state.keys() == {
        f"dense_projection.{layer}.{part}" for layer in (0, 2) for part in ("weight", "bias")
    }
    assert all(torch.equal(value, more[name]) for name, value in state.items())
    batch = toy_batch(without)
    plain, dense = without(batch), objective(batch)
    assert dense.logs.keys() - plain.logs.keys() == {"dense_loss"}
    assert all(torch.equal(value, dense.logs[name]) for name, value in plain.logs.items())
    assert dense.loss.item() == pytest.approx((plain.loss + dense.logs["dense_loss"]).item())


def test_it_draws_places_of_tissue_together():
    """Trained alone, on smooth images, the loss falls from that of features that tell no place from another."""
    objective = build(**NOTHING_ELSE, dense=1.0, noise=0.0)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-2)
    losses = []
    for step in range(20):
        batch = toy_batch(objective, seed=step)
        smooth = F.interpolate(
            batch.views[0][..., :6, :6], batch.views[0].shape[2:], mode="bilinear"
        )
        found = objective(replace(batch, views=(smooth, smooth)))
        optimizer.zero_grad()
        found.loss.backward()
        optimizer.step()
        losses.append(found.loss.item())
    chance = math.log(2 * 8 * EACH_PLACE - 1)
    assert losses[0] > 0.8 * chance
    assert sum(losses[-5:]) / 5 < 0.8 * losses[0], losses
