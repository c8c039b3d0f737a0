from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from dbtssl_implants.objects import draw
from torch import nn

from dbtssl.api import Label, Volume
from dbtssl.data.store import write_dataset
from dbtssl.plugins import registry

SMALL = {"crop_size": 24, "hidden": 8, "dim": 6, "radius": (5.0, 30.0), "height_mm": 160.0}


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


def build(seed=0, encoder=None, **changes):
    cls = registry().load("objective", "implants")
    torch.manual_seed(seed)
    config = cls.Config(**(SMALL | changes))
    return registry().build("objective", "implants", config.model_dump(), encoder or Encoder())


def one_object(n=1, size=64, **changes):
    """A round blob of 8 mm in the middle of the view, in focus; fields as ``changes`` say."""
    drawn = draw(
        torch.ones(n, 1, size, size, dtype=torch.bool),
        torch.arange(n),
        weights=(1.0, 0.0, 0.0, 0.0, 0.0),
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
    }
    return replace(drawn, **(plain | changes))


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
    data = write_dataset(tmp_path_factory.mktemp("implants") / "data", volumes, arrays)
    return data.slices(range(len(volumes)))
