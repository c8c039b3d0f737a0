"""Rays: straight or bent lines with a direction, a length, a width and a strength of their own."""

from __future__ import annotations

import math

import pytest
import torch
from dbtssl_implants.objects import MOST_RAYS, TIP, ray_shapes

from .conftest import one_object

SIZE = 129
AXIS = torch.arange(SIZE) - SIZE // 2  # pixels from the centre, rows downwards


def rays(angles, pixel=0.5, **changes):
    """Rays of an object of 8 mm at ``angles``, each 2 radii long and 1 mm wide; lengths in pixels of ``pixel`` mm."""
    n = len(angles)
    fields = {
        "ray": torch.zeros(1, MOST_RAYS),
        "ray_angle": torch.zeros(1, MOST_RAYS),
        "ray_length": torch.full((1, MOST_RAYS), 2.0),
        "ray_width": torch.ones(1, MOST_RAYS),
        "ray_bend": torch.zeros(1),
    }
    fields["ray"][0, :n] = 1.0
    fields["ray_angle"][0, :n] = torch.tensor(angles)
    for name, values in changes.items():
        fields[name].view(1, -1)[0, : len(values)] = torch.tensor(values)
    y, x = AXIS[:, None] * pixel, AXIS[None] * pixel
    angle, distance = torch.atan2(y, x)[None], torch.hypot(y, x)[None]
    return ray_shapes(one_object(**fields), angle, distance, torch.tensor([pixel]))[0]


def profile(shape, angle, away, pixel=0.5):
    """Values along ``angle`` at ``away`` mm from the centre, to the nearest pixel."""
    y = [SIZE // 2 + round(a * math.sin(angle) / pixel) for a in away]
    x = [SIZE // 2 + round(a * math.cos(angle) / pixel) for a in away]
    return shape[y, x]


@pytest.mark.parametrize("angle", [0.0, math.pi / 2, math.pi, -math.pi / 2])
def test_a_ray_runs_from_the_centre_in_its_direction_alone_and_ends_at_its_length(angle):
    shape = rays([angle])
    along = profile(shape, angle, [2, 6, 10, 14])
    assert torch.allclose(along, (1 - torch.tensor([2.0, 6, 10, 14]) / 16).sqrt(), atol=1e-5)
    assert not profile(shape, angle, [16.5, 20.0]).any()
    for turned in (math.pi / 2, math.pi):
        assert profile(shape, angle + turned, [8, 12]).max() < 1e-6


@pytest.mark.parametrize("pixel", [0.25, 0.5, 1.0])
def test_its_width_is_millimetres_and_tapers_to_a_share_at_the_tip(pixel):
    def width(at):
        column = rays([0.0], pixel)[:, SIZE // 2 + round(at / pixel)]
        return float(column.sum() / column.max()) * pixel / math.sqrt(math.pi)  # of a Gaussian

    for at in (4.0, 8.0, 12.0):
        tapered = TIP + (1 - TIP) * (1 - at / 16)
        assert width(at) == pytest.approx(tapered + pixel / 4, rel=0.05)


def test_strengths_are_those_of_each_ray_and_absent_rays_hide_none():
    shape = rays([0.0, math.pi / 2], ray=[1.0, 0.4, 0.0], ray_angle=[0.0, math.pi / 2, 0.01])
    full = rays([0.0])
    assert torch.allclose(profile(shape, 0.0, [4, 8]), profile(full, 0.0, [4, 8]), atol=1e-5)
    down = profile(shape, math.pi / 2, [4, 8])
    assert torch.allclose(down, 0.4 * profile(full, 0.0, [4, 8]), atol=1e-5)


def test_a_bent_ray_has_turned_by_its_bend_where_it_ends():
    shape = rays([0.0], ray_bend=[0.5])
    for at in (4.0, 8.0, 12.0):
        circle = torch.linspace(-1.0, 1.0, 401)
        y = (SIZE // 2 + at * circle.sin() / 0.5).round().long()
        x = (SIZE // 2 + at * circle.cos() / 0.5).round().long()
        brightest = circle[shape[y, x] > 0.9 * shape[y, x].max()].mean()
        assert float(brightest) == pytest.approx(0.5 * at / 16, abs=0.06)


def test_two_rays_do_not_add_up_where_they_meet():
    assert rays([0.0, 0.2, -0.2]).max() <= 1.0


def test_all_directions_are_reached():
    angles = [2 * math.pi * k / 16 for k in range(16)]
    shape = rays(angles)
    for angle in angles:
        assert profile(shape, angle, [8.0]) > 0.6
