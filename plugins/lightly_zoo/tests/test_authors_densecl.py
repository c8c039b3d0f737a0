"""DenseCL over three steps against the authors' formulas, written out from `openselfsup/models/densecl.py`.

Nothing of the objective is called here but the encoder and the weights of its heads. Maps are ``(B, C, h, w)``, and the
place head is a 1 x 1 convolution, as in the authors' neck.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dbtssl.testing.toy_objective import toy_batch

from .conftest import build

STEPS, TEMPERATURE, MOMENTUM, QUEUE = 3, 0.2, 0.9, 24


class Encoder(nn.Module):
    """Four places of an image, whose features differ: of two places that are equally near any could be the match."""

    num_features = 10

    def __init__(self):
        super().__init__()
        self.one, self.norm = nn.Conv2d(1, 6, 5, stride=4), nn.BatchNorm2d(6)
        self.two = nn.Conv2d(6, 10, 3)

    def forward_features(self, x):
        return self.two(self.norm(self.one(x)).tanh())

    def forward_head(self, x, pre_logits=False):
        return x.mean(dim=(2, 3))


def made(seed=0, **changes):
    torch.manual_seed(seed)
    return build("densecl", splits=1, queue_size=QUEUE, dim=16, encoder=Encoder(), **changes)


def head(x, weights):
    """Two layers with a ReLU between them, of vectors ``(B, C)`` or as 1 x 1 convolutions of maps ``(B, C, h, w)``."""
    for number, (weight, bias) in enumerate(weights):
        x = x if number == 0 else x.relu()
        x = (
            F.linear(x, weight, bias)
            if x.ndim == 2
            else F.conv2d(x, weight[:, :, None, None], bias)
        )
    return x


def unit(x):
    return x / x.norm(dim=1, keepdim=True)


class Authors:
    """One branch and its heads, twice, and two queues ``(D, K)``."""

    def __init__(self, objective):
        self.query = copy.deepcopy(objective.query)
        self.key = copy.deepcopy(objective.key.module)
        self.queues = [q.keys.clone().T.contiguous() for q in (objective.images, objective.places)]
        self.pointer = 0

    def outputs(self, network, images):
        """Features of the encoder, image, places and mean of the places; all of unit length over the channels."""
        features = network.encoder.forward_features(images)
        weights = [
            [(m.weight, m.bias) for m in part.modules() if hasattr(m, "weight")]
            for part in (network.image, network.place)
        ]
        image = head(F.adaptive_avg_pool2d(features, 1).flatten(1), weights[0])
        grid = head(features, weights[1])
        pooled = F.adaptive_avg_pool2d(grid, 1).flatten(1)  # before anything is of unit length
        return [unit(x) for x in (features.flatten(2), image, grid.flatten(2), pooled)]

    def loss(self, views, weight):
        q_features, q, q_grid, _ = self.outputs(self.query, views[0])
        with torch.no_grad():
            for mine, theirs in zip(self.key.parameters(), self.query.parameters(), strict=True):
                mine.copy_(mine * MOMENTUM + theirs * (1.0 - MOMENTUM))
            k_features, k, k_grid, k_pooled = self.outputs(self.key, views[1])
        cosines = q_features.transpose(1, 2) @ k_features  # B x N x N
        best, second = cosines.topk(2, dim=2).values.unbind(dim=2)
        assert (best - second).min() > 1e-4  # else rounding decides
        found = cosines.argmax(dim=2)
        matched = k_grid.gather(2, found[:, None].expand(-1, k_grid.shape[1], -1))
        single = self.contrast((q * k).sum(dim=1), q, 0)
        flat = q_grid.transpose(1, 2).flatten(0, 1)
        dense = self.contrast((q_grid * matched).sum(dim=1).flatten(), flat, 1)
        for queue, keys in zip(self.queues, (k, k_pooled), strict=True):
            queue[:, self.pointer : self.pointer + len(keys)] = keys.T
        self.pointer = (self.pointer + len(k)) % QUEUE
        return (1.0 - weight) * single + weight * dense

    def contrast(self, positive, query, number):
        logits = torch.cat([positive[:, None], query @ self.queues[number].clone()], dim=1)
        return -(logits / TEMPERATURE).log_softmax(dim=1)[:, 0].mean()


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_three_steps_are_the_authors(weight):
    """Loss within 1e-6 and gradients within 1e-5 in each step, queues and key encoder after all of them."""
    ours = made(momentum=MOMENTUM, dense_weight=weight)
    theirs = Authors(ours)
    optimizers = [
        torch.optim.SGD(x.query.parameters(), lr=0.05, momentum=0.9) for x in (ours, theirs)
    ]
    for step in range(STEPS):
        data = toy_batch(ours, seed=step)
        losses = ours(data).loss, theirs.loss(data.views, weight)
        assert abs(losses[0].item() - losses[1].item()) < 1e-6
        for optimizer, loss in zip(optimizers, losses, strict=True):
            optimizer.zero_grad()
            loss.backward()
        pairs = list(zip(ours.query.parameters(), theirs.query.parameters(), strict=True))
        found, expected = (torch.cat([p[i].grad.flatten() for p in pairs]) for i in (0, 1))
        assert (found - expected).norm() < 1e-5 * expected.norm()
        for optimizer in optimizers:
            optimizer.step()
        ours.after_step(step / (STEPS - 1))
    for mine, queue in zip((ours.images, ours.places), theirs.queues, strict=True):
        torch.testing.assert_close(mine.keys, queue.T, atol=1e-5, rtol=1e-5)


def test_the_second_queue_is_not_the_mean_of_unit_vectors():
    """Which it was once: places with long projections then counted no more than short ones."""
    objective = made()
    data = toy_batch(objective)
    with torch.no_grad():
        raw = [
            m for m in copy.deepcopy(objective.key.module).place.modules() if hasattr(m, "weight")
        ]
        found = objective.key.module.encoder.forward_features(data.views[1])
        grid = head(found, [(m.weight, m.bias) for m in raw]).flatten(2)  # B x D x N
    objective(data)
    torch.testing.assert_close(
        objective.places.keys[:8], unit(grid.mean(dim=2)), atol=1e-5, rtol=1e-5
    )
    other = unit(unit(grid).mean(dim=2))
    assert (objective.places.keys[:8] - other).abs().max() > 1e-3


def test_heads_begin_as_the_authors_do():
    """`necks.py`: linear layers from a normal distribution by fan-in, biases 0; convolutions as torch makes them."""
    objective = build("densecl", hidden=512, dim=64)
    image = [m for m in objective.query.image.modules() if hasattr(m, "weight")]
    place = [m for m in objective.query.place.modules() if hasattr(m, "weight")]
    assert [m.bias.any().item() for m in image] == [False, False]
    for layer in image:
        assert layer.weight.std().item() == pytest.approx((2 / layer.in_features) ** 0.5, rel=0.05)
    for layer in place:
        assert layer.weight.abs().max() <= layer.in_features**-0.5
    assert all(m.bias.all() for m in place)
