from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from dbtssl_implants.objects import draw

from dbtssl.testing.toy_cohort import toy_cohort
from dbtssl.testing.toy_objective import toy_objective

SMALL = {"crop_size": 24, "hidden": 8, "dim": 6, "radius": (5.0, 30.0), "height_mm": 160.0}


def build(seed=0, encoder=None, **changes):
    return toy_objective("implants", SMALL | changes, seed=seed, encoder=encoder)


def one_object(n=1, size=64, **changes):
    """A round blob of 8 mm in the middle of the view, in focus; fields as ``changes`` say."""
    drawn = draw(
        torch.ones(n, 1, size, size, dtype=torch.bool),
        torch.arange(n),
        weights=(1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        radius=(8.0, 8.0),
        amplitude=(1.0, 1.0),
        p_dark=0.0,
    )
    middle = torch.full((n,), (size - 1) / 2)
    plain = {
        "y": middle,
        "x": middle,
        "aspect": torch.ones(n),
        "wobble": torch.zeros_like(drawn.wobble),
        "edge": torch.full((n,), 0.1),
        "depth": torch.zeros(n),
        "grip": torch.full((n,), 1.4),
    }
    return replace(drawn, **(plain | changes))


@pytest.fixture(scope="session")
def slices(tmp_path_factory):
    return toy_cohort(tmp_path_factory.mktemp("implants"))
