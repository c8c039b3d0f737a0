from __future__ import annotations

import math
from dataclasses import fields

import pytest
import torch
from dbtssl_implants.config import KINDS
from dbtssl_implants.objective import windows
from dbtssl_implants.objects import DISTORTION, LARGER, MOST_RAYS, TIGHTER, Objects, draw

from dbtssl.api import Photometry
from dbtssl.views.photometry import photometry

SETTINGS = {
    "weights": (0.3, 0.2, 0.1, 0.1, 0.2, 0.1),
    "radius": (3.0, 12.0),
    "amplitude": (0.5, 2.0),
    "p_dark": 0.2,
}
WARPS = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0)


def drawn(tissue, seed=0, **changes):
    seeds = torch.arange(len(tissue)) + 10**6 * seed
    return draw(tissue, seeds, **(SETTINGS | changes))


def half_breast(n, size=32):
    tissue = torch.zeros(n, 1, size, size, dtype=torch.bool)
    tissue[..., : size // 2] = True
    return tissue


def within(count, n, p):
    """Three standard deviations of a binomial."""
    return abs(count - n * p) <= 3 * math.sqrt(n * p * (1 - p)) + 1e-9


def test_centres_are_tissue_in_the_middle_of_the_view():
    o = drawn(half_breast(2000))
    assert bool(o.on.all())
    assert o.x.min() == 8
    assert o.x.max() == 15
    assert o.y.min() == 8
    assert o.y.max() == 23


def test_a_view_with_tissue_at_its_edge_alone_has_its_object_there():
    tissue = torch.zeros(50, 1, 32, 32, dtype=torch.bool)
    tissue[..., :3] = True
    assert drawn(tissue).x.max() == 2


def test_a_view_without_tissue_has_no_object():
    tissue = half_breast(3)
    tissue[1] = False
    assert drawn(tissue).on.tolist() == [True, False, True]


def test_kinds_signs_and_sizes_follow_their_rules():
    n = 20_000
    o = drawn(half_breast(1).expand(n, -1, -1, -1))
    for kind, p in enumerate(SETTINGS["weights"]):
        assert within(int((o.kind == kind).sum()), n, p), KINDS[kind]
    assert within(int((o.amplitude < 0).sum()), n, SETTINGS["p_dark"])
    size = o.amplitude.abs()
    assert size.min() >= 0.5
    assert size.max() <= 2.0
    assert within(int((size < 1.25).sum()), n, 0.5)
    assert o.radius.min() >= 3.0
    plain = o.radius[o.kind != DISTORTION]
    assert plain.max() <= 12.0
    assert within(
        int((plain < 6.0).sum()), len(plain), 0.5
    )  # log-uniform: half lie below sqrt(3 * 12)
    assert bool((o.depth.abs() <= o.radius).all())


def test_the_same_seed_gives_the_same_objects():
    a, b, c = (drawn(half_breast(4), seed) for seed in (1, 1, 2))
    same = [torch.equal(getattr(a, f), getattr(b, f)) for f in Objects.__dataclass_fields__]
    assert all(same)
    assert not torch.equal(a.radius, c.radius)
    last = draw(half_breast(1), torch.tensor([3 + 10**6]), **SETTINGS)  # whatever its batch
    assert torch.equal(last.radius, a.radius[3:])


def test_a_distortion_always_draws_in_and_more_than_a_warp():
    one = (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    warp, distortion = (drawn(half_breast(400), weights=w).pull for w in (WARPS, one))
    assert torch.allclose(distortion, TIGHTER * warp.abs())
    assert warp.min() < 0 < distortion.min()


def test_a_distortion_is_larger_as_boxes_of_distortions_are():
    one = (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    warp, distortion = (drawn(half_breast(400), weights=w) for w in (WARPS, one))
    assert torch.allclose(distortion.radius, LARGER * warp.radius)
    assert torch.allclose(distortion.depth, LARGER * warp.depth)


def test_spiculated_masses_draw_in_and_never_push():
    assert drawn(half_breast(400), weights=(0.0, 1.0, 0.0, 0.0, 0.0, 0.0)).pull.min() > 0


def test_objects_have_from_eight_to_all_rays_and_no_edge_is_wider_than_they_are():
    o = drawn(half_breast(2000))
    count = (o.ray > 0).sum(dim=1)
    assert (int(count.min()), int(count.max())) == (8, MOST_RAYS)
    assert o.ray[o.ray > 0].min() >= 0.3
    assert bool((o.edge <= 0.6 * o.radius + 1e-6).all())
    assert (o.edge.min() < 0.6) & (o.edge.max() > 4.0)


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_a_weight_alone_draws_one_kind(kind):
    weights = tuple(float(k == kind) for k in range(len(KINDS)))
    assert set(drawn(half_breast(20), weights=weights).kind.tolist()) == {kind}


def test_no_part_of_an_object_follows_the_photometry_of_its_view():
    """Both are drawn from the view's seed; |r| of independent numbers stays under 4 / sqrt(n)."""
    n = 2000
    seeds = torch.arange(n)
    flat = torch.full((n, 1, 4, 4), 0.5)
    light = photometry(flat, Photometry(brightness=0.5, p_jitter=1.0), seeds).mean(dim=(1, 2, 3))
    objects = draw(torch.ones(n, 1, 8, 8, dtype=torch.bool), seeds, **SETTINGS)
    crop = windows(seeds, 0, 0.5, 0.5).flatten(1)
    parts = [getattr(objects, f.name).double().view(n, -1) for f in fields(Objects)]
    values = torch.cat([light.double()[:, None], *parts, crop.double()], dim=1)
    values = values[:, values.std(dim=0) > 0]
    assert torch.corrcoef(values.T)[0, 1:].abs().max() < 4 / math.sqrt(n)
