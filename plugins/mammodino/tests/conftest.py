from __future__ import annotations

import numpy as np
import pytest
import torch

from dbtssl.api import Batch, Label, Volume, create_encoder
from dbtssl.data.store import write_dataset
from dbtssl.plugins import registry

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
    """Patients with both CC/MLO views of a breast, some without, some with two studies; a texture a volume."""
    rng = np.random.default_rng(0)
    volumes, arrays = [], []
    for i in range(8):
        patient, study, view = f"P{i // 3}", f"S{i % 3 // 2}", ("lcc", "lmlo", "rcc")[i % 3]
        volumes.append(Volume(patient, study, view, 3, 40, 32, Label.NORMAL))
        pattern = rng.integers(0, 1023, size=(1, 5, 4)).repeat(8, axis=1).repeat(8, axis=2)
        arrays.append(np.broadcast_to(pattern, (3, 40, 32)).astype(np.uint16))
    data = write_dataset(tmp_path_factory.mktemp("mammodino") / "data", volumes, arrays)
    return data.slices(range(len(volumes)))
