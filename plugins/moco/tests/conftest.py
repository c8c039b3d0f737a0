"""A small encoder, and an objective and batches for it."""

from __future__ import annotations

import torch
from dbtssl_moco.objective import MoCoV2
from torch import nn
from torch.nn import functional as F

from dbtssl.api import Batch


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.num_features = 6
        self.conv = nn.Conv2d(1, 6, 3, stride=2)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, x):
        return F.relu(self.norm(self.conv(x))).mean(dim=(2, 3))


def build(seed=0, **changes):
    torch.manual_seed(seed)
    config = MoCoV2.Config(**({"dim": 5, "queue_size": 20, "crop_size": 16} | changes))
    return MoCoV2(Encoder(), config)


def batch(n=8, seed=0, first=0):
    g = torch.Generator().manual_seed(seed)
    views = tuple(torch.rand(n, 1, 16, 16, generator=g) for _ in range(2))
    ids = torch.arange(first, first + n)
    twice = ((ids, ids), (ids // 2, ids // 2), (ids // 4, ids // 4))
    return Batch(views, tuple(torch.ones_like(v, dtype=torch.bool) for v in views), *twice)


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=1)
