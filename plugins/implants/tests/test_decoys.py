from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from dbtssl_implants.decoys import (
    CALCIFICATION,
    CYST,
    DECOY_KINDS,
    NODE,
    VESSEL,
    Decoys,
    draw_decoys,
    paint_decoys,
)
from dbtssl_implants.objective import windows
from dbtssl_implants.objects import SWEEP, Objects, draw

SIZE = 64
MIDDLE = (SIZE - 1) / 2


def drawn(n, share=1.0, seeds=None):
    tissue = torch.ones(1, 1, 8, 8, dtype=torch.bool).expand(n, -1, -1, -1)
    seeds = torch.arange(n) if seeds is None else seeds
    return draw_decoys(tissue, seeds, share=share, radius=(3.0, 12.0), amplitude=(0.5, 2.0))


def one(kind, n=1, **changes):
    """A decoy in the middle of the view, upright, in focus; fields as ``changes`` say."""
    plain = {
        "kind": torch.full((n,), kind),
        "y": torch.full((n,), MIDDLE),
        "x": torch.full((n,), MIDDLE),
        "radius": torch.full((n,), 8.0),
        "edge": torch.full((n,), 0.1),
        "depth": torch.zeros(n),
        "aspect": torch.ones(n),
        "turn": torch.zeros(n),
        "amplitude": torch.ones(n),
        "bend": torch.zeros(n),
        "hilum": torch.full((n,), 0.4),
        "hilum_at": torch.full((n,), 0.5),
    }
    return replace(drawn(n), **(plain | changes))


def texture(n=1):
    return 0.4 + 0.1 * torch.rand(n, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def added(decoys, pixel=1.0, height=0.0, images=None, tissue=None):
    """What a decoy adds to a view, in SDs of its tissue, ``(B, S, S)``."""
    n = len(decoys.y)
    images = texture(n) if images is None else images
    tissue = torch.ones_like(images, dtype=torch.bool) if tissue is None else tissue
    out = paint_decoys(
        images, tissue, decoys, torch.full((n, 2), pixel), torch.full((n,), float(height))
    )
    return (out - images)[:, 0] / images[0][tissue[0]].std(correction=0)


def extent(x, axis):
    return int((x[0] > 0.5 * x.max()).any(dim=axis).sum())


def test_an_oval_has_its_size_in_millimetres_and_one_brightness():
    x = added(one(CYST, aspect=torch.tensor([1.25])))
    assert float((x > 0.0).sum()) == pytest.approx(math.pi * 8.0**2, rel=0.15)
    axis = torch.arange(SIZE) - MIDDLE
    inside = (axis[:, None] ** 2 + axis[None] ** 2).sqrt() < 6.0
    assert x[0][inside].mean().item() == pytest.approx(1.0, abs=0.1)
    after = texture()[0, 0] + x[0] * texture().std()
    assert after[inside].std() < 0.4 * texture()[0, 0][inside].std()


def test_a_node_lacks_its_hilum():
    x = added(one(NODE))[0]
    row = round(MIDDLE + 0.5 * 8.0)  # upright: the hilum is below the centre
    assert x[row, 32] < 0.0
    assert x[row - 8, 32] > 0.9


@pytest.mark.parametrize("pixel", [0.25, 0.5])
def test_a_vessel_crosses_the_view_and_is_as_wide_as_it_is(pixel):
    x = added(one(VESSEL, radius=torch.tensor([1.5])), pixel)
    assert extent(x, 0) == SIZE
    assert extent(x, 1) * pixel == pytest.approx(3.0, abs=pixel)


def test_a_bent_vessel_is_an_arc():
    x = added(one(VESSEL, radius=torch.tensor([1.0]), bend=torch.tensor([0.03])))[0]
    assert x[:, 32].argmax() - MIDDLE == pytest.approx(0.0, abs=1.0)
    assert x[:, -1].argmax() - MIDDLE == pytest.approx(0.03 * 31.5**2 / 2, abs=1.5)


def test_dots_are_tiny_and_bright():
    dots = {"dot_y": torch.full((1, 6), 0.5), "dot_x": torch.full((1, 6), 0.5)}
    x = added(one(CALCIFICATION, radius=torch.tensor([0.4]), amplitude=torch.tensor([4.0]), **dots))
    assert x.max() > 3.5
    assert 0 < int((x > 1.0).sum()) <= 4


def test_out_of_focus_a_decoy_is_smeared_along_the_sweep_and_fainter():
    """The oval as objects are; a vessel along the sweep keeps its contrast, one across it does not."""
    near, far = (
        added(one(NODE, depth=torch.tensor([30.0])), height=30.0),
        added(one(NODE), height=48.0),
    )
    assert torch.equal(near, added(one(NODE)))
    assert far.max() == pytest.approx(float(near.max()) / (1 + SWEEP * 40.0 / 16.0), rel=0.02)
    assert extent(far, 1) > extent(near, 1)
    thin = {"radius": torch.tensor([1.0])}
    upright = {"turn": torch.tensor([math.pi / 2])}
    assert added(one(VESSEL, **thin), height=20.0).max() < 0.4
    along = added(one(VESSEL, **thin, **upright))
    assert torch.allclose(added(one(VESSEL, **thin, **upright), height=20.0), along, atol=1e-5)
    dots = [added(one(CALCIFICATION, radius=torch.tensor([0.5])), height=h).max() for h in (0, 20)]
    assert dots[1] < 0.4 * dots[0]


@pytest.mark.parametrize("kind", range(len(DECOY_KINDS)))
def test_air_stays_air_and_what_is_off_changes_nothing(kind):
    images, tissue = texture(2), torch.ones(2, 1, SIZE, SIZE, dtype=torch.bool)
    tissue[..., SIZE // 2 :] = False
    x = added(one(kind, 2), images=images, tissue=tissue)
    assert not x[~tissue[:, 0]].any()
    assert x[tissue[:, 0]].max() > 0.3
    off = one(kind, 2, on=torch.tensor([False, False]))
    assert not added(off, images=images, tissue=tissue).any()


def test_shares_kinds_and_sizes_follow_their_rules():
    n = 20_000
    d = drawn(n, share=0.3)

    def near(found, p):
        return abs(float(found.float().mean()) - p) < 3 * math.sqrt(p * (1 - p) / n)

    assert near(d.on, 0.3)
    assert all(near(d.kind == k, 0.25) for k in range(len(DECOY_KINDS)))
    oval, vessel, dots = d.kind < VESSEL, d.kind == VESSEL, d.kind == CALCIFICATION
    assert 3.0 <= d.radius[oval].min() < d.radius[oval].max() <= 12.0
    assert 0.5 <= d.radius[vessel].min() < d.radius[vessel].max() <= 1.5
    assert d.radius[dots].max() <= 0.6
    assert d.amplitude[~dots].max() <= 2.0
    assert d.amplitude[dots].max() > 5.0
    assert bool(d.dot.any(dim=1).all())


def test_nothing_of_a_decoy_follows_the_object_or_the_window():
    """All are drawn from one seed; |r| of independent numbers stays under 5 / sqrt(n)."""
    n = 2000
    seeds = torch.arange(n)
    tissue = torch.ones(1, 1, 8, 8, dtype=torch.bool).expand(n, -1, -1, -1)
    ranges = {"radius": (3.0, 12.0), "amplitude": (0.5, 2.0)}
    objects = draw(tissue, seeds, weights=(1.0,) * 5, p_dark=0.2, **ranges)
    parts = [[getattr(x, f.name).double().view(n, -1) for f in fields(kind)]
             for x, kind in ((drawn(n, 0.5), Decoys), (objects, Objects))]  # fmt: skip
    parts[1] += [windows(seeds, k, 0.5, 0.5).flatten(1).double() for k in range(4)]
    mine, others = (torch.cat(p, dim=1) for p in parts)
    mine, others = (p[:, p.std(dim=0) > 0] for p in (mine, others))
    r = torch.corrcoef(torch.cat([mine, others], dim=1).T)[: mine.shape[1], mine.shape[1] :]
    assert r.abs().max() < 5 / math.sqrt(n)
