"""The losses of the objectives on two views: against lightly's, called directly, and written out by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from lightly.loss import BarlowTwinsLoss, NegativeCosineSimilarity, NTXentLoss, VICRegLoss
from torch.nn import functional as F

from dbtssl.testing.toy_objective import toy_batch

from .conftest import build


def projections(objective, data):
    """What the loss of ``objective`` sees, from a copy, whose batch statistics may move."""
    network = copy.deepcopy(getattr(objective, "network", None) or objective.online)
    return [network(view) for view in data.views]


def test_simclr_is_nt_xent():
    objective = build("simclr", temperature=0.3)
    data = toy_batch(objective)
    z = copy.deepcopy(objective.network)(torch.cat(data.views))
    loss = objective(data).loss
    torch.testing.assert_close(loss, NTXentLoss(0.3)(*z.chunk(2)))

    unit = F.normalize(z, dim=1).double()
    n = len(unit) // 2
    total = 0.0
    for i in range(2 * n):  # equation 1
        cosines = torch.exp(unit[i] @ unit.T / 0.3)
        others = cosines.sum() - cosines[i]
        total -= torch.log(cosines[(i + n) % (2 * n)] / others)
    torch.testing.assert_close(loss.double(), total / (2 * n), atol=1e-5, rtol=1e-5)


def test_byol_is_the_squared_distance_of_unit_vectors():
    objective = build("byol")
    data = toy_batch(objective)
    z0, z1 = projections(objective, data)
    target = copy.deepcopy(objective.target)
    t0, t1 = (target(view) for view in data.views)
    predictor = copy.deepcopy(objective.predictor)
    p0, p1 = predictor(z0), predictor(z1)
    loss = objective(data).loss
    cosine = NegativeCosineSimilarity()
    torch.testing.assert_close(loss, 4 + 2 * cosine(p0, t1) + 2 * cosine(p1, t0))

    def square(p, t):  # equation 2
        return (F.normalize(p, dim=1) - F.normalize(t, dim=1)).square().sum(dim=1).mean()

    torch.testing.assert_close(loss, square(p0, t1) + square(p1, t0))


def test_simsiam_is_the_cosine_of_prediction_and_stopped_projection():
    objective = build("simsiam")
    data = toy_batch(objective)
    z0, z1 = projections(objective, data)
    predictor = copy.deepcopy(objective.predictor)
    p0, p1 = predictor(z0), predictor(z1)
    loss = objective(data).loss
    theirs = NegativeCosineSimilarity()
    torch.testing.assert_close(loss, 0.5 * theirs(p0, z1) + 0.5 * theirs(p1, z0))
    cosines = [
        (p * z).sum(dim=1) / (p.norm(dim=1) * z.norm(dim=1)) for p, z in ((p0, z1), (p1, z0))
    ]
    torch.testing.assert_close(loss, -torch.stack(cosines).mean())


def test_simsiam_stops_the_gradient_of_the_target():
    """With gradients through both sides the loss would move the network in another direction."""
    objective, free = build("simsiam"), build("simsiam")
    data = toy_batch(objective)
    objective(data).loss.backward()
    z0, z1 = (free.network(view) for view in data.views)
    cosine = NegativeCosineSimilarity()
    ((cosine(free.predictor(z0), z1) + cosine(free.predictor(z1), z0)) / 2).backward()
    mine, theirs = objective.network.encoder.one.weight.grad, free.network.encoder.one.weight.grad
    assert not torch.allclose(mine, theirs, rtol=1e-3)
    ours, other = (x.predictor.layers[0].weight.grad for x in (objective, free))
    torch.testing.assert_close(ours, other)


def test_barlow_twins_is_the_distance_of_the_cross_correlation_to_the_identity():
    objective = build("barlow-twins", redundancy=0.02)
    data = toy_batch(objective)
    a, b = projections(objective, data)
    loss = objective(data).loss
    torch.testing.assert_close(loss, BarlowTwinsLoss(0.02)(a, b))

    eps = 1e-5  # batch normalisation's
    std = [((x - x.mean(0)) / (x.var(0, unbiased=False) + eps).sqrt()).double() for x in (a, b)]
    c = std[0].T @ std[1] / len(a)  # equation 2
    on = sum((1 - c[i, i]) ** 2 for i in range(len(c)))
    off = sum(c[i, j] ** 2 for i in range(len(c)) for j in range(len(c)) if i != j)
    torch.testing.assert_close(loss.double(), on + 0.02 * off, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "weights"),
    [("all", (25.0, 25.0, 1.0)), ("s", (1.0, 0.0, 0.0)), ("v", (0.0, 1.0, 0.0)), ("c", (0, 0, 1))],
)
def test_vicreg_is_its_three_terms(kind, weights):
    names = ("invariance", "variance", "covariance")
    objective = build("vicreg", **dict(zip(names, map(float, weights), strict=True)))
    data = toy_batch(objective)
    a, b = projections(objective, data)
    loss = objective(data).loss
    torch.testing.assert_close(loss, VICRegLoss(*weights)(a, b))

    def variance(z):  # equation 1
        return (1 - (z.var(dim=0) + 1e-4).sqrt()).clamp_min(0).mean()

    def covariance(z):  # equations 3 and 4
        c = torch.cov(z.T)
        return (c.square().sum() - c.diagonal().square().sum()) / len(c)

    terms = (
        (a - b).square().mean(),
        (variance(a) + variance(b)) / 2,  # the authors' code halves it
        covariance(a) + covariance(b),
    )
    expected = sum(w * term for w, term in zip(weights, terms, strict=True))
    torch.testing.assert_close(loss, expected)


def test_byol_targets_get_no_gradient_and_follow():
    objective = build("byol", momentum=0.9)
    objective(toy_batch(objective)).loss.backward()
    assert all(p.grad is None and not p.requires_grad for p in objective.target.parameters())
    assert all(p.grad is not None for p in objective.predictor.parameters())
    start = objective.target.module.encoder.one.weight.clone()
    with torch.no_grad():
        objective.online.encoder.one.weight.add_(1.0)
    objective.after_step(0.0)
    torch.testing.assert_close(objective.target.module.encoder.one.weight, start + 0.1)
    objective.after_step(1.0)  # the momentum has risen to 1
    torch.testing.assert_close(objective.target.module.encoder.one.weight, start + 0.1)
