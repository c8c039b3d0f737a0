"""Three steps of each objective against its authors' formulas, written out here from their papers and code.

Heads are built again layer by layer and take the weights over in order; nothing of the objective but the toy encoder is
called. In each step the losses and all gradients are compared, and after each step both sides go on by themselves.
"""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dbtssl.testing.toy_objective import toy_batch

from .conftest import build

STEPS, DIM, HIDDEN = 3, 6, 16


def mlp(*widths, last_bias=False, act=nn.ReLU):
    """Linear layers with batch normalisation, which makes up for their biases, and ``act`` between them."""
    layers = []
    for k, (a, b) in enumerate(itertools.pairwise(widths)):
        last = k == len(widths) - 2
        layers.append(nn.Linear(a, b, bias=last and last_bias))
        if not last:
            layers += [nn.BatchNorm1d(b), act()]
    return nn.Sequential(*layers)


def weights_of(target, source, skip=()):
    """Copy the parameters of ``source``, but those of the names ``skip``, in order; shapes and number are the same."""
    theirs = [p for name, p in source.named_parameters() if name not in skip]
    mine = list(target.parameters())
    assert [p.shape for p in mine] == [p.shape for p in theirs]
    with torch.no_grad():
        for a, b in zip(mine, theirs, strict=True):
            a.copy_(b)
    return target


def unit(x):
    return x / x.norm(dim=1, keepdim=True)


class Twin(nn.Module):
    """An encoder and a head of the authors' make, with the weights of ours."""

    def __init__(self, network, head, skip=()):
        super().__init__()
        self.encoder = copy.deepcopy(network.encoder)
        self.head = weights_of(head, network.head, skip)

    def forward(self, x):
        return self.head(self.encoder(x))


class SimCLR(nn.Module):
    """`objective.py`, add_contrastive_loss; the code adds both directions, the paper takes their mean (equation 1)."""

    def __init__(self, ours):
        super().__init__()
        head = nn.Sequential(*mlp(10, HIDDEN, DIM), nn.BatchNorm1d(DIM))
        self.net = Twin(ours.network, head)

    def forward(self, views):
        z = unit(self.net(torch.cat(views)))
        a, b = z.chunk(2)
        own = 1e9 * torch.eye(len(a))  # LARGE_NUM
        labels = torch.arange(len(a))
        there = torch.cat([a @ b.T / 0.1, a @ a.T / 0.1 - own], dim=1)
        back = torch.cat([b @ a.T / 0.1, b @ b.T / 0.1 - own], dim=1)
        return (F.cross_entropy(there, labels) + F.cross_entropy(back, labels)) / 2


class BYOL(nn.Module):
    """`byol_experiment.py`, loss_fn, and `utils/networks.py`, MLP: the last layer has no bias."""

    def __init__(self, ours):
        super().__init__()
        self.online = Twin(ours.online, mlp(10, HIDDEN, DIM))
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.predictor = weights_of(mlp(DIM, HIDDEN, DIM), ours.predictor)

    def forward(self, views):
        p = [self.predictor(self.online(x)) for x in views]
        t = [self.target(x).detach() for x in views]
        both = (unit(p[0]) - unit(t[1])).square().sum(1) + (unit(p[1]) - unit(t[0])).square().sum(1)
        return both.mean()

    @torch.no_grad()
    def after(self, progress):
        tau = 1 - (1 - 0.9) * (math.cos(math.pi * progress) + 1) / 2
        for mine, theirs in zip(self.target.parameters(), self.online.parameters(), strict=True):
            mine.add_((1 - tau) * (theirs - mine))


class SimSiam(nn.Module):
    """`simsiam/builder.py` and `main_simsiam.py`, train."""

    def __init__(self, ours):
        super().__init__()
        head = nn.Sequential(*mlp(10, HIDDEN, HIDDEN, DIM), nn.BatchNorm1d(DIM, affine=False))
        self.net = Twin(ours.network, head)
        self.predictor = weights_of(mlp(DIM, 8, DIM, last_bias=True), ours.predictor)

    def forward(self, views):
        z = [self.net(x) for x in views]
        p = [self.predictor(x) for x in z]
        cosine = nn.CosineSimilarity(dim=1)
        return -(cosine(p[0], z[1].detach()).mean() + cosine(p[1], z[0].detach()).mean()) * 0.5


LAST_BIAS = ("layers.6.bias",)  # lightly's; neither loss depends on it


class BarlowTwins(nn.Module):
    """`main.py`, BarlowTwins.forward; the last layer has no bias, which its normalisation would take away."""

    def __init__(self, ours):
        super().__init__()
        self.net = Twin(ours.network, mlp(10, HIDDEN, HIDDEN, DIM), LAST_BIAS)
        self.norm = nn.BatchNorm1d(DIM, affine=False)

    def forward(self, views):
        a, b = (self.norm(self.net(x)) for x in views)
        c = a.T @ b / len(a)
        diagonal = torch.eye(DIM, dtype=torch.bool)
        return (c[diagonal] - 1).square().sum() + 0.005 * c[~diagonal].square().sum()


class VICReg(nn.Module):
    """`main_vicreg.py`, VICReg.forward; the last layer has no bias, which no term depends on."""

    def __init__(self, ours):
        super().__init__()
        self.net = Twin(ours.network, mlp(10, HIDDEN, HIDDEN, DIM), LAST_BIAS)

    def forward(self, views):
        x, y = (self.net(view) for view in views)
        spread = covariance = 0.0
        for z in (x - x.mean(dim=0), y - y.mean(dim=0)):
            spread = spread + F.relu(1 - (z.var(dim=0) + 0.0001).sqrt()).mean() / 2
            c = z.T @ z / (len(z) - 1)
            covariance = covariance + c[~torch.eye(DIM, dtype=torch.bool)].square().sum() / DIM
        return 25.0 * F.mse_loss(x, y) + 25.0 * spread + covariance


class DINO(nn.Module):
    """`main_dino.py`, DINOLoss and train_one_epoch; `vision_transformer.py`, DINOHead; `utils.py`, MultiCropWrapper."""

    FREEZE = 0.4  # of three steps: the first two

    def __init__(self, ours):
        super().__init__()
        self.student = self.copied(ours.student)
        self.teacher = self.copied(ours.student).requires_grad_(False)
        self.center, self.progress = torch.zeros(1, DIM), 0.0

    def copied(self, network):
        body = mlp(10, HIDDEN, HIDDEN, 8, act=nn.GELU, last_bias=True)
        head = nn.Sequential(*body, nn.Linear(8, DIM, bias=False))
        return Twin(network, head, ("last_layer.weight_g",))

    def out(self, network, *sizes):
        x = torch.cat([network.encoder(size) for size in sizes])
        *body, last = network.head
        x = F.normalize(nn.Sequential(*body)(x), dim=1)
        return x @ unit(last.weight).T  # weight norm of length 1

    def forward(self, views):
        teacher = self.out(self.teacher, torch.cat(views[:2]))
        student = self.out(self.student, torch.cat(views[:2]), torch.cat(views[2:])) / 0.1
        temperature = 0.04 + (0.07 - 0.04) * min(1.0, self.progress / 0.8)
        targets = F.softmax((teacher - self.center) / temperature, dim=1).chunk(2)
        terms = [
            -(q * F.log_softmax(s, dim=1)).sum(dim=1).mean()
            for i, q in enumerate(targets)
            for v, s in enumerate(student.chunk(len(views)))
            if v != i
        ]
        self.center = 0.9 * self.center + 0.1 * teacher.mean(dim=0, keepdim=True)
        return sum(terms) / len(terms)

    def before(self):
        if self.progress < self.FREEZE:
            self.student.head[-1].weight.grad = None

    @torch.no_grad()
    def after(self, progress):
        m = 1 + 0.5 * (0.9 - 1) * (1 + math.cos(math.pi * progress))
        for mine, theirs in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            mine.mul_(m).add_((1 - m) * theirs)
        self.progress = progress


class LeJEPA(nn.Module):
    """`MINIMAL.md`, SIGReg and the main loop, with the views drawn to the global ones' mean as in the paper."""

    def __init__(self, ours):
        super().__init__()
        self.net = Twin(ours.network, mlp(10, HIDDEN, HIDDEN, DIM, last_bias=True))

    def forward(self, views):
        torch.manual_seed(7)
        a = torch.randn(DIM, 64)
        features = [self.net.encoder(torch.cat(x)) for x in (views[:2], views[2:])]
        proj = self.net.head(torch.cat(features)).reshape(len(views), -1, DIM)
        t = torch.linspace(0, 3, 17)
        weights = torch.full((17,), 2 * 3 / 16)
        weights[[0, -1]] = 3 / 16
        phi = torch.exp(-t.square() / 2.0)
        x_t = (proj @ (a / a.norm(dim=0)))[..., None] * t
        err = (x_t.cos().mean(-3) - phi).square() + x_t.sin().mean(-3).square()
        sigreg = ((err @ (weights * phi)) * proj.shape[-2]).mean()
        invariance = (proj[:2].mean(0) - proj).square().mean()
        return 0.05 * sigreg + 0.95 * invariance


CASES = {
    "simclr": (SimCLR, {}),
    "byol": (BYOL, {"momentum": 0.9}),
    "simsiam": (SimSiam, {"bottleneck": 8}),
    "barlow-twins": (BarlowTwins, {}),
    "vicreg": (VICReg, {}),
    "dino": (
        DINO,
        {
            "batch_norm": True,
            "momentum": 0.9,
            "teacher_temp": 0.07,
            "warmup": 0.8,
            "freeze_last_layer": DINO.FREEZE,
        },
    ),
    "lejepa": (LeJEPA, {}),
}


def grads(module, skip=()):
    return [p.grad for name, p in module.named_parameters() if p.requires_grad and name not in skip]


@pytest.mark.parametrize("name", CASES)
def test_three_steps_are_the_authors(name):
    """Losses and gradients of the authors but for rounding; what has no gradient does not decay either."""
    make, changes = CASES[name]
    ours = build(name, dim=DIM, **changes)
    theirs = make(ours)
    inert = (
        {f"network.head.{k}" for k in LAST_BIAS} if name in ("barlow-twins", "vicreg") else set()
    )
    optimizers = [  # SGD: AdamW makes steps of the rounding errors of gradients that are 0
        torch.optim.SGD(
            [p for p in x.parameters() if p.requires_grad], lr=0.01, momentum=0.9, weight_decay=0.1
        )
        for x in (ours, theirs)
    ]
    for step in range(STEPS):
        data = toy_batch(ours, n=16, seed=step)
        torch.manual_seed(7)
        losses = ours(data).loss, theirs(data.views)
        assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)
        for optimizer, loss in zip(optimizers, losses, strict=True):
            optimizer.zero_grad()
            loss.backward()
        for x, hook in ((ours, "before_step"), (theirs, "before")):
            getattr(x, hook, lambda: None)()
        mine, other = grads(ours, inert), grads(theirs)
        assert [g is None for g in mine] == [g is None for g in other]
        found, expected = (
            torch.cat([g.flatten() for g in side if g is not None]) for side in (mine, other)
        )
        assert (found - expected).norm() < 5e-5 * expected.norm()
        for optimizer in optimizers:
            optimizer.step()
        ours.after_step(step / (STEPS - 1))
        getattr(theirs, "after", lambda _: None)(step / (STEPS - 1))
