from __future__ import annotations

import pytest

from dbtssl.plugins import registry
from dbtssl.testing.toy_cohort import toy_cohort
from dbtssl.testing.toy_objective import toy_objective

OBJECTIVES = (
    "simclr",
    "byol",
    "simsiam",
    "barlow-twins",
    "vicreg",
    "dino",
    "densecl",
    "lejepa",
)
SMALL = {  # keys that a Config has are taken, the others left
    "dim": 6,
    "hidden": 16,
    "bottleneck": 8,
    "queue_size": 24,
    "crop_size": 20,
    "local_size": 12,
    "local_views": 3,
    "projections": 64,
}


def small(name):
    fields = registry().load("objective", name).Config.model_fields
    return {key: value for key, value in SMALL.items() if key in fields}


def build(name, seed=0, encoder=None, **changes):
    return toy_objective(name, small(name) | changes, seed=seed, encoder=encoder)


@pytest.fixture(scope="session")
def slices(tmp_path_factory):
    return toy_cohort(tmp_path_factory.mktemp("zoo"))
