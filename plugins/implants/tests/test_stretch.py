"""Tissue stretched along a line: it moves along that line alone, in all four crops, and counts as absent."""

from __future__ import annotations

import math

import pytest
import torch
from dbtssl_implants.decoys import Stretches, draw_stretches, stretch
from dbtssl_implants.objects import PULLS, TIGHTER, draw

SIZE = 64


def one(turn=0.0, pull=0.6, reach=12.0):
    middle = torch.full((1,), (SIZE - 1) / 2)
    return Stretches(middle, middle, *(torch.full((1,), v) for v in (reach, turn, pull)))


def stripes(down):
    """Stripes of 8 pixels, constant along rows or, with ``down``, along columns; in [0, 1]."""
    wave = 0.5 + 0.5 * torch.sin(torch.arange(SIZE) * (2 * math.pi / 8))
    image = wave[:, None].expand(SIZE, SIZE) if down else wave[None].expand(SIZE, SIZE)
    return image[None, None].clone()


def applied(images, s, pixel=1.0, tissue=None):
    tissue = torch.ones_like(images, dtype=torch.bool) if tissue is None else tissue
    return stretch(images, tissue, s, torch.full((1, 2), pixel))


def test_tissue_moves_along_the_line_and_not_across_it():
    across = stripes(down=True)  # the same all along the line
    assert torch.allclose(applied(across, one()), across, atol=1e-5)
    along = stripes(down=False)
    assert (applied(along, one()) - along).abs().max() > 0.3
    down = one(turn=math.pi / 2)
    assert torch.allclose(applied(along, down), along, atol=1e-5)
    assert (applied(across, down) - across).abs().max() > 0.3


def test_it_draws_towards_the_centre_of_the_line():
    axis = torch.arange(SIZE) - (SIZE - 1) / 2
    pair = torch.exp(-((axis.abs() - 8.0) ** 2) / 4.0)[None, None, None].expand(1, 1, SIZE, SIZE)
    row = applied(pair.clone(), one())[0, 0, SIZE // 2]
    assert float((row * axis.abs()).sum() / row.sum()) < float(
        (pair[0, 0, 0] * axis.abs()).sum() / pair[0, 0, 0].sum()
    )


@pytest.mark.parametrize("pixel", [0.5, 2.0])
def test_its_reach_is_millimetres(pixel):
    change = (applied(stripes(down=False), one(), pixel) - stripes(down=False)).abs()[0, 0]
    axis = (torch.arange(SIZE) - (SIZE - 1) / 2) * pixel
    away = torch.hypot(axis[:, None], axis[None])
    assert change[away < 12].max() > 0.2
    assert change[away > 40].numel() == 0 or change[away > 40].max() < 1e-3


def test_air_stays_and_without_a_pull_nothing_changes_bit_for_bit():
    images, tissue = stripes(down=False), torch.ones(1, 1, SIZE, SIZE, dtype=torch.bool)
    tissue[..., : SIZE // 2] = False
    out = applied(images, one(), tissue=tissue)
    assert torch.equal(out[~tissue], images[~tissue])
    assert torch.equal(applied(images, one(pull=0.0)), images)


def test_places_reach_and_strength_follow_their_rules():
    tissue = torch.zeros(4000, 1, 32, 32, dtype=torch.bool)
    tissue[..., :16] = True
    tissue[0] = False
    s = draw_stretches(tissue, torch.arange(4000), share=0.5, radius=(3.0, 12.0))
    on = s.pull != 0
    assert not on[0]
    assert abs(int(on.sum()) - 2000) < 3 * math.sqrt(1000)
    assert s.x[1:].max() <= 15
    assert PULLS[0] <= s.pull[on].min()
    assert s.pull.max() <= PULLS[1]
    assert s.reach.min() >= 3.6
    assert s.reach.max() <= 28.8
    again = draw_stretches(tissue[7:9], torch.arange(7, 9), share=0.5, radius=(3.0, 12.0))
    assert torch.equal(again.pull, s.pull[7:9])


def test_painted_pulls_are_as_strong():
    ones = torch.ones(4000, 1, 8, 8, dtype=torch.bool)
    settings = {"radius": (3.0, 9.0), "amplitude": (1.0, 2.0), "p_dark": 0.0}
    for kind, factor in ((1, 1.0), (5, TIGHTER)):
        weights = tuple(float(k == kind) for k in range(6))
        pull = draw(ones, torch.arange(4000), weights=weights, **settings).pull
        assert PULLS[0] * factor <= pull.min() < PULLS[0] * factor + 0.01 * factor
        assert pull.max() <= PULLS[1]
