from __future__ import annotations

import math

import pytest
import torch
from dbtssl_implants.config import KINDS
from dbtssl_implants.objects import (
    BLOB,
    BRIGHTER,
    DISTORTION,
    FOREIGN,
    MOST_RAYS,
    RAYS,
    SPICULATED,
    SWEEP,
    WARP,
    paint,
)

from .conftest import one_object

SIZE = 64
EIGHT_RAYS = {
    "ray": (torch.arange(MOST_RAYS) < 8).float()[None],
    "ray_angle": torch.arange(MOST_RAYS)[None] * (math.pi / 4),
    "ray_length": torch.full((1, MOST_RAYS), 2.5),
    "ray_width": torch.full((1, MOST_RAYS), 1.0),
    "ray_bend": torch.zeros(1),
}


def texture(n=1, seed=0):
    g = torch.Generator().manual_seed(seed)
    return 0.4 + 0.1 * torch.rand(n, 1, SIZE, SIZE, generator=g)


def painted(objects, images=None, tissue=None, pixel=1.0, height=0.0):
    n = len(objects.y)
    images = texture(n) if images is None else images
    tissue = torch.ones_like(images, dtype=torch.bool) if tissue is None else tissue
    size = torch.tensor(pixel).expand(2).expand(n, 2) if isinstance(pixel, float) else pixel
    return paint(images, tissue, objects, size, torch.full((n,), float(height)))


def kind(k):
    return torch.full((1,), k)


@pytest.mark.parametrize("pixel", [0.5, 1.0, 2.0])
def test_a_blob_has_its_radius_in_millimetres_whatever_the_pixel(pixel):
    _, mask = painted(one_object(), pixel=pixel)
    area = float(mask.sum()) * pixel**2
    assert area == pytest.approx(math.pi * 8.0**2, rel=0.05)


def test_pixels_need_not_be_square():
    pixel = torch.tensor([[1.0, 2.0]])
    _, mask = painted(one_object(), pixel=pixel)
    assert float(mask.sum()) * 2.0 == pytest.approx(math.pi * 8.0**2, rel=0.03)
    rows, columns = (mask[0, 0] > 0.5).any(dim=1).sum(), (mask[0, 0] > 0.5).any(dim=0).sum()
    assert (int(rows), int(columns)) == (16, 8)


def test_the_contrast_is_in_standard_deviations_of_the_tissue():
    images = texture()
    out, mask = painted(one_object(amplitude=torch.tensor([1.5])), images)
    inside = mask > 0.999
    added = (out - images)[inside]
    assert added.mean().item() == pytest.approx(1.5 * images.std().item(), rel=1e-2)
    assert torch.equal(out[mask < 1e-6], images[mask < 1e-6])


def test_a_dark_object_is_darker():
    images = texture()
    out, mask = painted(one_object(amplitude=torch.tensor([-1.0])), images)
    assert bool((out[mask > 0.9] < images[mask > 0.9]).all())


@pytest.mark.parametrize("k", range(len(KINDS)))
def test_air_stays_air(k):
    images, tissue = texture(2), torch.ones(2, 1, SIZE, SIZE, dtype=torch.bool)
    tissue[..., SIZE // 2 :] = False
    images[~tissue] = 0.0
    objects = one_object(2, kind=torch.full((2,), k))
    out, mask = painted(objects, images, tissue)
    assert not out[~tissue].any()
    assert not mask[~tissue].any()
    assert bool((mask > 0.5).any())


@pytest.mark.parametrize("k", range(len(KINDS)))
def test_every_kind_changes_the_view_where_its_mask_is_and_nowhere_else(k):
    images = torch.cat([texture(1, 1), texture(1, 2)])
    objects = one_object(2, kind=torch.full((2,), k))
    out, mask = painted(objects, images)
    changed = (out - images).abs()
    assert changed[mask > 0.5].mean() > 0.01
    y, x = torch.meshgrid(*[torch.arange(SIZE) - (SIZE - 1) / 2] * 2, indexing="ij")
    away = torch.hypot(y, x).expand(2, 1, -1, -1)
    assert changed[away > 8.0 * 3.5].max() < 0.02  # rays are at most 2.8 radii long
    if k in (BLOB, FOREIGN):
        assert changed[mask < 1e-4].max() < 1e-4


@pytest.mark.parametrize("k", range(len(KINDS)))
def test_an_object_that_is_off_changes_nothing(k):
    images = texture(2)
    off = one_object(2, kind=torch.full((2,), k), on=torch.tensor([False, False]))
    out, mask = painted(off, images)
    assert torch.allclose(out, images, atol=1e-6)
    assert not mask.any()


def test_spiculated_is_blob_and_brighter_rays_on_tissue_that_is_drawn_in():
    images, pull = texture(), torch.tensor([0.5])
    out, mask = painted(one_object(kind=kind(SPICULATED), pull=pull, **EIGHT_RAYS), images)
    drawn, _ = painted(one_object(kind=kind(WARP), pull=pull, **EIGHT_RAYS), images)
    blob, of_blob = painted(one_object(kind=kind(BLOB), **EIGHT_RAYS), images)
    rays, _ = painted(one_object(kind=kind(RAYS), **EIGHT_RAYS), images)
    assert torch.allclose(out, drawn + torch.maximum(blob, rays) - images, atol=1e-6)
    assert torch.equal(mask, of_blob)


def test_rays_are_brighter_than_a_blob_and_reach_beyond_their_mask():
    images = texture()
    out, mask = painted(one_object(kind=kind(RAYS), **EIGHT_RAYS), images)
    added = (out - images) / images.std(correction=0)
    assert BRIGHTER * 0.8 < added.max() <= BRIGHTER
    assert bool((added[mask < 0.05] > 0.5).any())
    y, x = torch.meshgrid(*[torch.arange(SIZE) - (SIZE - 1) / 2] * 2, indexing="ij")
    assert torch.allclose(mask[0, 0], torch.exp(-(y**2 + x**2) / 64), atol=1e-3)


def test_a_pull_draws_tissue_towards_the_centre():
    """A bright ring of 12 px moves inwards; pushed, it moves outwards."""
    axis = torch.arange(SIZE) - (SIZE - 1) / 2
    r = (axis[:, None] ** 2 + axis[None] ** 2).sqrt()
    ring = torch.exp(-((r - 8.0) ** 2) / 4.0)[None, None]

    def mean_radius(pull):
        out, _ = painted(one_object(kind=kind(WARP), pull=torch.tensor([pull])), ring)
        return float((out[0, 0] * r).sum() / out.sum())

    assert mean_radius(0.5) < mean_radius(0.0) - 0.5
    assert mean_radius(-0.4) > mean_radius(0.0) + 0.5


def test_a_distortion_is_drawn_in_tissue_with_rays_on_it():
    images, pull = texture(), torch.tensor([0.5])
    out, mask = painted(one_object(kind=kind(DISTORTION), pull=pull, **EIGHT_RAYS), images)
    drawn, bell = painted(one_object(kind=kind(WARP), pull=pull, **EIGHT_RAYS), images)
    rays, _ = painted(one_object(kind=kind(RAYS), **EIGHT_RAYS), images)
    assert torch.allclose(out, drawn + rays - images, atol=1e-6)
    assert torch.equal(mask, bell)


def test_foreign_tissue_is_that_of_another_view():
    images = torch.cat([torch.full((1, 1, SIZE, SIZE), v) for v in (0.2, 0.5, 0.8)])
    out, mask = painted(one_object(3, kind=torch.full((3,), FOREIGN)), images)
    other = images.roll(2, 0)
    assert torch.allclose(out[mask > 0.999], other[mask > 0.999], atol=1e-3)


def test_foreign_air_is_not_blended_in():
    images, tissue = texture(3), torch.ones(3, 1, SIZE, SIZE, dtype=torch.bool)
    tissue[1, ..., : SIZE // 2] = False  # shown in the first row, a step of 2 away in 3
    objects = one_object(3, kind=torch.full((3,), FOREIGN))
    out, mask = painted(objects, images, tissue)
    assert not mask[0, 0, :, : SIZE // 2].any()
    assert torch.equal(out[0, 0, :, : SIZE // 2], images[0, 0, :, : SIZE // 2])
    assert bool((mask[0] > 0.5).any())


def test_a_batch_of_one_has_no_foreign_tissue():
    images = texture()
    out, mask = painted(one_object(kind=kind(FOREIGN)), images)
    assert torch.equal(out, images)
    assert not mask.any()


def test_out_of_focus_an_object_is_smeared_along_the_rows_and_keeps_its_light():
    images = texture()
    near, mask_near = painted(one_object(), images, height=8.0)  # still within its radius
    focus, mask = painted(one_object(), images)
    assert torch.equal(near, focus)
    _, mask_far = painted(one_object(), images, height=48.0)
    assert mask_far.max().item() == pytest.approx(1 / (1 + SWEEP * 40.0 / 16.0), rel=1e-3)
    assert mask_far.sum().item() == pytest.approx(mask.sum().item(), rel=0.05)

    def extent(x, axis):
        return int((x[0, 0] > 0.5 * x.max()).any(dim=axis).sum())

    assert extent(mask_far, 0) == extent(mask_near, 0)
    assert extent(mask_far, 1) == pytest.approx(16 + SWEEP * 40.0, abs=1.5)


def test_the_depth_of_the_object_is_where_it_is_in_focus():
    deep = one_object(depth=torch.tensor([30.0]))
    at, away = painted(deep, height=30.0)[1], painted(deep, height=0.0)[1]
    assert at.max() > 0.99
    assert away.max() < 0.8


def test_values_stay_in_range():
    out, _ = painted(one_object(amplitude=torch.tensor([1e3])))
    assert out.max() == 1.0
    assert out.min() >= 0.0
