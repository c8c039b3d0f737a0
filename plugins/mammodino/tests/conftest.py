from __future__ import annotations

import pytest
import torch

from dbtssl.api import Batch, create_encoder
from dbtssl.plugins import registry
from dbtssl.testing.toy_cohort import toy_cohort

VARIANTS = ("none", "consistency", "contrastive", "dense")
SMALL = {
    "prototypes": 12,
    "patch_prototypes": 10,
    "hidden": 16,
    "bottleneck": 8,
    "contrast_dim": 6,
    "queue_size": 24,
    "crop_size": 16,
    "local_size": 8,
    "local_views": 3,
}
WIDTH = 24
VIT = {  # jax: of timm's initialisations the one with the widest spread in a network so small
    "img_size": 16,
    "patch_size": 4,
    "embed_dim": WIDTH,
    "depth": 2,
    "num_heads": 2,
    "weight_init": "jax",
}


def encoder(name="vit_tiny_patch16_224", **changes):
    return create_encoder(name, **(VIT | changes))


def build(seed=0, vit=None, **changes):
    cls = registry().load("objective", "mammodino")
    torch.manual_seed(seed)
    config = cls.Config(**(SMALL | changes))
    made = registry().build(
        "objective", "mammodino", config.model_dump(), encoder() if vit is None else vit
    )
    return made.train()


def batch(objective, n=8, seed=0, other_volume=()):
    """Random images with half a breast of tissue; two rows a breast, four a patient; rows of pairs across volumes."""
    g = torch.Generator().manual_seed(seed)
    shapes = [view.crop.shape for view in objective.views]
    views = tuple(torch.rand(n, 1, *shape, generator=g) for shape in shapes)
    tissue = []
    for shape in shapes:
        x = torch.zeros(n, 1, *shape, dtype=torch.bool)
        for row in range(n):
            x[row, ..., : shape[1] * (1 + row % 4) // 4] = True
        tissue.append(x)
    ids = torch.arange(n)
    volume = [ids.clone() for _ in views]
    for row in other_volume:
        volume[2][row] += 1000
    same = ((ids // 2,) * len(views), (ids // 4,) * len(views))
    seeds = tuple(torch.randint(2**62, (n,), generator=g) for _ in views)
    return Batch(views, tuple(tissue), tuple(volume), *same, seeds)


@pytest.fixture(scope="session")
def slices(tmp_path_factory):
    return toy_cohort(tmp_path_factory.mktemp("mammodino"))
