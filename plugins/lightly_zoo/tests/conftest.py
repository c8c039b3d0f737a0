from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dbtssl.api import Batch, Label, Volume
from dbtssl.data.store import write_dataset
from dbtssl.plugins import registry

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


class Encoder(nn.Module):
    """Convolutional, with batch normalisation, and with timm's two halves of a forward pass."""

    num_features = 10

    def __init__(self):
        super().__init__()
        self.one, self.norm = nn.Conv2d(1, 6, 3, stride=2), nn.BatchNorm2d(6)
        self.two = nn.Conv2d(6, 10, 3, stride=2)

    def forward_features(self, x):
        return self.two(self.norm(self.one(x)).relu()).relu()

    def forward_head(self, x, pre_logits=False):
        return x.mean(dim=(2, 3))

    def forward(self, x):
        return self.forward_head(self.forward_features(x))


def build(name, seed=0, encoder=None, **changes):
    cls = registry().load("objective", name)
    small = {key: value for key, value in SMALL.items() if key in cls.Config.model_fields}
    torch.manual_seed(seed)
    config = cls.Config(**(small | changes))
    return registry().build("objective", name, config.model_dump(), encoder or Encoder())


def batch(objective, n=8, seed=0):
    """Random images of the sizes that ``objective`` asks for; two rows a breast, four a patient."""
    g = torch.Generator().manual_seed(seed)
    sizes = [view.crop.size for view in objective.views]
    views = tuple(torch.rand(n, 1, s, s, generator=g) for s in sizes)
    ids = torch.arange(n)
    each = [(x,) * len(views) for x in (ids, ids // 2, ids // 4)]
    return Batch(views, tuple(torch.ones_like(v, dtype=torch.bool) for v in views), *each)


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
    data = write_dataset(tmp_path_factory.mktemp("zoo") / "data", volumes, arrays)
    return data.slices(range(len(volumes)))
