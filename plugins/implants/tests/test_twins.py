from __future__ import annotations

import math

import pytest
import torch
from dbtssl_implants.losses import twin_contrast
from torch.nn import functional as F

T = 0.3


def by_hand(clean, painted, same):
    """Equation 1 of SimCLR, written out: every vector against its partner, among all others."""
    n = len(clean[0])
    views = [*clean[0], *painted[0], *clean[1], *painted[1]]
    z = [F.normalize(v, dim=0) for v in views]
    losses = []
    for i in range(4 * n):
        if not same[i % n]:
            continue
        partner = (i + 2 * n) % (4 * n)
        others = [math.exp(float(z[i] @ z[j]) / T) for j in range(4 * n) if j != i]
        losses.append(-math.log(math.exp(float(z[i] @ z[partner]) / T) / sum(others)))
    return sum(losses) / len(losses) if losses else 0.0


def parts(n=3, d=5):
    g = torch.Generator().manual_seed(0)
    a, b, c, e = (torch.randn(n, d, generator=g) for _ in range(4))
    return (a, b), (c, e)


@pytest.mark.parametrize("same", [[True] * 3, [True, False, True], [False] * 3])
def test_the_loss_is_its_formula(same):
    clean, painted = parts()
    loss = twin_contrast(clean, painted, T, torch.tensor(same))
    assert loss.item() == pytest.approx(by_hand(clean, painted, same), rel=1e-5)


def test_the_twin_is_a_negative():
    """A painted crop that looks as its clean twin costs; one that looks different does not."""
    one = torch.eye(4)[:2]
    other = torch.eye(4)[2:]
    same = torch.ones(2, dtype=torch.bool)
    alike = twin_contrast((one, one), (one, one), T, same)
    apart = twin_contrast((one, one), (other, other), T, same)
    assert apart < alike - 0.5


def test_no_pair_left_still_has_a_gradient_of_zero():
    clean, painted = parts()
    x = clean[0].requires_grad_()
    twin_contrast((x, clean[1]), painted, T, torch.zeros(3, dtype=torch.bool)).backward()
    assert x.grad is not None
    assert not x.grad.any()
