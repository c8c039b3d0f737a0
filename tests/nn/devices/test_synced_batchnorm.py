"""On one device; two are in `tests/testing/test_devices.py`."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from dbtssl.nn.devices import synced_batchnorm
from dbtssl.nn.devices.split_batchnorm import SplitBatchNorm2d, split_batchnorm
from dbtssl.nn.devices.synced_batchnorm import SyncedBatchNorm, sync_batchnorm


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        BatchNormAct2d(4, momentum=0.3, eps=1e-3),
        nn.Conv2d(4, 3, 3),
        nn.BatchNorm2d(3, affine=False),
        nn.Flatten(),
        nn.Linear(48, 5),
        nn.BatchNorm1d(5, momentum=None),
    )


def test_alone_it_is_plain_batch_normalisation_to_the_bit():
    plain = network()
    synced = sync_batchnorm(copy.deepcopy(plain))
    assert sum(isinstance(m, SyncedBatchNorm) for m in synced.modules()) == 3
    assert synced.state_dict().keys() == plain.state_dict().keys()
    for step in range(3):
        x = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(step))
        assert torch.equal(synced(x), plain(x))
    synced.eval()
    plain.eval()
    assert torch.equal(synced(x), plain(x))
    for name, value in plain.state_dict().items():
        assert torch.equal(synced.state_dict()[name], value), name


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("affine", [True, False])
def test_the_joint_statistics_are_those_of_the_joined_batch(monkeypatch, momentum, affine):
    """Two devices are played: the gather gives the statistics of both halves."""
    torch.manual_seed(0)
    halves = torch.randn(2, 6, 3, 5, 5) * 2 + torch.arange(2.0)[:, None, None, None, None]
    plain = nn.BatchNorm2d(3, momentum=momentum, affine=affine)
    if affine:
        nn.init.normal_(plain.weight)
        nn.init.normal_(plain.bias)
    synced = [sync_batchnorm(nn.Sequential(copy.deepcopy(plain)))[0] for _ in halves]
    stats = [
        torch.stack([h.mean(dim=(0, 2, 3)), h.var(dim=(0, 2, 3), correction=0)]) for h in halves
    ]
    monkeypatch.setattr(synced_batchnorm, "world_size", lambda: 2)
    monkeypatch.setattr(synced_batchnorm, "gather_with_gradient", lambda _: torch.stack(stats))
    expected = plain(halves.flatten(0, 1))
    found = torch.cat([norm(half) for norm, half in zip(synced, halves, strict=True)])
    torch.testing.assert_close(found, expected)
    for norm in synced:
        torch.testing.assert_close(norm.running_mean, plain.running_mean)
        torch.testing.assert_close(norm.running_var, plain.running_var)
        assert norm.num_batches_tracked == 1


def test_split_batch_normalisation_is_left_alone():
    net = sync_batchnorm(split_batchnorm(network(), 2))
    assert isinstance(net[1], SplitBatchNorm2d)
    assert isinstance(net[6], SyncedBatchNorm)
