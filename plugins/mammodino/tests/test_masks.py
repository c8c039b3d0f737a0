"""Masks over many shapes of a breast: exact, in blocks, and never all of it."""

from __future__ import annotations

import math

import pytest
import torch
from dbtssl_mammodino.masks import block_masks, targets, tissue_patches
from torch.nn import functional as F

GRIDS = [(3, 3), (4, 7), (8, 8), (16, 12), (36, 27)]
SHARES = [0.1, 0.26, 0.47, 0.7, 0.9]
RATIOS = [(0.1, 0.5), (0.3, 0.3), (0.9, 1.0)]
DRAWS = 60


def breast(rows, columns, share):
    """Half an ellipse on the left edge, of the given share of the grid as far as the grid allows."""
    y = (torch.arange(rows) + 0.5) / rows * 2 - 1
    x = (torch.arange(columns) + 0.5) / columns
    # |y| / a and x / b with a half-ellipse's area pi a b / 2 over the grid's 2
    radius = math.sqrt(4 * share / math.pi)
    half = min(1.0, radius)
    return (y[:, None] / half) ** 2 + (x[None] / (radius**2 / half)) ** 2 <= 1.0


def seeds(n, first=0):
    return torch.arange(first, first + n) * 7919 + 12345


def draw(tissue, ratio=(0.1, 0.5), probability=1.0, min_visible=0.4, n=DRAWS, first=0):
    many = tissue.expand(n, *tissue.shape).clone()
    chosen = targets(many, seeds(n, first), probability, ratio, min_visible)
    return many, chosen, block_masks(many, chosen, seeds(n, first))


@pytest.mark.parametrize("ratio", RATIOS, ids=str)
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_masks_are_exact_in_tissue_and_leave_enough_visible(grid, share, ratio):
    tissue = breast(*grid, share)
    n = int(tissue.sum())
    assert n >= 1
    many, chosen, masks = draw(tissue, ratio)
    count = masks.flatten(1).sum(dim=1)
    assert not (masks & ~many).any()
    assert torch.equal(count, chosen)
    if n == 1:
        assert not masks.any()
        return
    assert count.min() >= 1
    assert count.max() < n  # never all tissue
    assert count.max() <= max(1, math.floor(0.6 * n + 1e-6))
    if ratio[1] <= 0.6:  # what was asked is what is masked, but for rounding
        assert (count / n).max() <= ratio[1] + 0.5 / n or count.max() == 1
        expected = n * (ratio[0] + ratio[1]) / 2
        sigma = n * (ratio[1] - ratio[0]) / math.sqrt(12 * DRAWS) + 0.5
        assert abs(count.float().mean() - max(1.0, expected)) <= 3 * sigma


def in_blocks(masks):
    """Share of masked patches with a masked neighbour above, below, left or right."""
    cross = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])
    beside = F.conv2d(masks[:, None].float(), cross[None, None], padding=1)[:, 0]
    return float((beside[masks] > 0).float().mean())


def refilled(tissue, ratio, generator):
    """The public variant: a share of all patches in blocks, cut to tissue, refilled by single patches of tissue."""
    h, w = tissue.shape
    target = int(h * w * float(torch.empty(1).uniform_(*ratio, generator=generator)))
    mask = torch.zeros_like(tissue)
    for _ in range(50):
        left = target - int(mask.sum())
        if left < 4:
            break
        area = float(torch.empty(1).uniform_(4, left, generator=generator))
        aspect = math.exp(
            float(torch.empty(1).uniform_(math.log(0.3), -math.log(0.3), generator=generator))
        )
        bh, bw = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if bh < h and bw < w:
            y = int(torch.randint(h - bh + 1, (1,), generator=generator))
            x = int(torch.randint(w - bw + 1, (1,), generator=generator))
            if 0 < (~mask[y : y + bh, x : x + bw]).sum() <= left:
                mask[y : y + bh, x : x + bw] = True
    mask &= tissue
    free = (tissue & ~mask).flatten().nonzero()[:, 0]
    short = min(max(0, target - int(mask.sum())), len(free))
    order = torch.randperm(len(free), generator=generator)[:short]
    mask.view(-1)[free[order]] = True
    return mask


def test_small_breasts_are_not_hidden_as_by_the_public_variant():
    """A quarter of a 36 x 27 grid is breast, ratio .1 to .5: there most masks hide all of it, in scattered patches."""
    tissue = breast(36, 27, 0.26)
    g = torch.Generator().manual_seed(0)
    public = torch.stack([refilled(tissue, (0.1, 0.5), g) for _ in range(DRAWS)])
    many, _, ours = draw(tissue)
    hidden = [(m | ~many).flatten(1).all(dim=1).float().mean().item() for m in (public, ours)]
    assert hidden[0] > 0.4
    assert hidden[1] == 0.0
    few = torch.stack([refilled(tissue, (0.1, 0.2), g) for _ in range(DRAWS)])
    assert in_blocks(ours) > 0.97
    assert in_blocks(ours) > in_blocks(few)


@pytest.mark.parametrize("share", SHARES)
def test_masks_are_blocks_of_several_patches(share):
    """At most a patch in twenty stands alone; of as many single patches far more do."""
    tissue = breast(16, 12, share)
    many, chosen, masks = draw(tissue, (0.2, 0.4))
    noise = torch.rand(masks.shape, generator=torch.Generator().manual_seed(0))
    rank = noise.masked_fill(~many, 2.0).flatten(1).argsort(1).argsort(1).view_as(masks)
    single = rank < chosen[:, None, None]
    assert in_blocks(masks) > 0.95
    assert 1 - in_blocks(masks) < 0.25 * (1 - in_blocks(single))


def test_every_tissue_patch_is_masked_now_and_then():
    tissue = breast(8, 8, 0.6)
    _, _, masks = draw(tissue, n=2000)
    rate = masks.float().mean(dim=0)[tissue]
    assert rate.min() > 0.5 * rate.mean()
    assert rate.max() < 2.0 * rate.mean()


def test_images_are_chosen_as_often_as_asked():
    _, chosen, _ = draw(breast(8, 8, 0.5), probability=0.3, n=4000)
    share = float((chosen > 0).float().mean())
    assert abs(share - 0.3) < 3 * math.sqrt(0.3 * 0.7 / 4000)
    _, nobody, masks = draw(breast(8, 8, 0.5), probability=0.0)
    assert not nobody.any()
    assert not masks.any()


def test_an_image_without_tissue_is_left_whole():
    none = torch.zeros(8, 8, dtype=torch.bool)
    _, chosen, masks = draw(none)
    assert not chosen.any()
    assert not masks.any()


def test_a_mask_depends_on_its_own_seed_alone():
    """Not on the batch, so that devices, workers and interruptions change nothing."""
    tissue = breast(16, 12, 0.5)
    _, _, masks = draw(tissue, n=8)
    _, _, again = draw(tissue, n=8)
    _, _, later = draw(tissue, n=4, first=4)
    assert torch.equal(masks, again)
    assert torch.equal(masks[4:], later)
    assert not torch.equal(masks[0], masks[1])


def test_patches_count_as_tissue_by_their_share():
    tissue = torch.zeros(1, 1, 8, 12, dtype=torch.bool)
    tissue[0, 0, :4, :4] = True  # all of patch (0, 0)
    tissue[0, 0, :2, 4:8] = True  # half of (0, 1)
    tissue[0, 0, 4, 0] = True  # a pixel of (1, 0)
    found = {s: tissue_patches(tissue, (4, 4), s)[0].tolist() for s in (0.0, 1 / 16, 0.5, 1.0)}
    assert found[1.0] == [[True, False, False], [False, False, False]]
    assert found[0.5] == [[True, True, False], [False, False, False]]
    assert found[1 / 16] == [[True, True, False], [True, False, False]]
    assert found[0.0] == [[True] * 3] * 2
