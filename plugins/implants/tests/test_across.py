from __future__ import annotations

import math

import pytest
import torch
from dbtssl_implants.losses import view_contrast
from torch.nn import functional as F

T = 0.3


def parts(n=4, d=5):
    g = torch.Generator().manual_seed(0)
    return torch.randn(n, d, generator=g), torch.randn(n, d, generator=g)


@pytest.mark.parametrize("counts", [[True] * 4, [True, False, True, True]])
def test_the_loss_is_its_formula(counts):
    """Equation 1 of SimCLR, written out over the pairs that count."""
    first, second = parts()
    rows = [i for i in range(4) if counts[i]]
    z = [F.normalize(x[i], dim=0) for x in (first, second) for i in rows]
    losses = []
    for i, one in enumerate(z):
        others = [math.exp(float(one @ other) / T) for j, other in enumerate(z) if j != i]
        partner = z[(i + len(rows)) % len(z)]
        losses.append(-math.log(math.exp(float(one @ partner) / T) / sum(others)))
    found = view_contrast(first, second, T, torch.tensor(counts))
    assert found.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


@pytest.mark.parametrize("pairs", [0, 1])
def test_without_a_negative_it_is_zero_and_has_a_gradient_of_zero(pairs):
    first, second = parts()
    first.requires_grad_()
    loss = view_contrast(first, second, T, torch.arange(4) < pairs)
    loss.backward()
    assert loss.item() == 0.0
    assert first.grad is not None
    assert not first.grad.any()
