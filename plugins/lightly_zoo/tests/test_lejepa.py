from __future__ import annotations

import copy
import math
import sys

import lightly.loss
import pytest
import torch
from lightly.loss import SIGReg

from dbtssl.api import PluginError
from dbtssl.testing.toy_objective import toy_batch

from .conftest import build


def statistic(x: torch.Tensor, t_max: float, knots: int) -> float:
    """Epps and Pulley's statistic of the sample ``x`` ``(N,)`` by the trapezoidal rule on [-t_max, t_max].

    ``N`` times the integral of ``|empirical characteristic function - exp(-t^2 / 2)|^2 exp(-t^2 / 2)``.
    """
    t = torch.linspace(-t_max, t_max, 2 * knots - 1, dtype=torch.float64)
    empirical = torch.exp(1j * t[:, None] * x.double()[None]).mean(dim=1)
    target = torch.exp(-t.square() / 2)
    return len(x) * float(torch.trapezoid((empirical - target).abs() ** 2 * target, t))


def closed_form(x: torch.Tensor) -> float:
    """The same integral over all frequencies, by the Gaussian integrals (Epps and Pulley, 1983)."""
    x, n = x.double(), len(x)
    pairs = torch.exp(-(x[:, None] - x[None]).square() / 2).sum() / n**2
    single = math.sqrt(2) * torch.exp(-x.square() / 4).sum() / n
    return n * math.sqrt(2 * math.pi) * float(pairs - single + 1 / math.sqrt(3))


def everything(objective, data):
    whole, local = torch.cat(data.views[:2]), data.views[2:]
    sizes = (whole, torch.cat(local)) if local else (whole,)
    z = copy.deepcopy(objective.network)(*sizes).unflatten(0, (2 + len(local), -1))
    return z[:2], z


@pytest.mark.parametrize("local_views", [0, 3])
def test_the_loss_is_sigreg_and_the_distance_to_the_mean_of_the_global_views(local_views):
    objective = build("lejepa", sigreg=0.3, local_views=local_views, projections=32)
    data = toy_batch(objective)
    whole, z = everything(objective, data)
    torch.manual_seed(5)
    loss = objective(data).loss
    torch.manual_seed(5)
    theirs = SIGReg(num_vectors=32)(z)
    spread = sum((z[v] - (whole[0] + whole[1]) / 2).square().mean() for v in range(len(z))) / len(z)
    torch.testing.assert_close(loss, 0.3 * theirs + 0.7 * spread)


def test_sigreg_by_hand():
    """The statistic of each view and direction, averaged."""
    objective = build("lejepa", sigreg=1.0, projections=8, knots=9, t_max=2.0)
    data = toy_batch(objective)
    _, z = everything(objective, data)
    torch.manual_seed(5)
    loss = objective(data).loss
    torch.manual_seed(5)
    directions = torch.randn(6, 8)
    directions = directions / directions.norm(dim=0)
    expected = [statistic(view @ d, 2.0, 9) for view in z.detach() for d in directions.T]
    assert loss.item() == pytest.approx(sum(expected) / len(expected), rel=1e-4)


def test_the_grid_comes_near_the_closed_form():
    """In one dimension the only directions are plus and minus one, and the statistic is the same for both."""
    sample = torch.randn(64, 1, generator=torch.Generator().manual_seed(1))
    for x in (sample, 3 * sample + 1):
        exact = closed_form(x[:, 0])
        found = SIGReg(knots=200, t_max=8.0, num_vectors=2)(x).item()
        assert found == pytest.approx(exact, rel=1e-3)
        assert statistic(x[:, 0], 8.0, 200) == pytest.approx(exact, rel=1e-3)


@pytest.mark.filterwarnings("error")
def test_an_older_lightly_is_told(monkeypatch):
    monkeypatch.delattr(lightly.loss, "SIGReg")
    assert "lightly.loss" in sys.modules
    with pytest.raises(PluginError, match=r"lejepa needs SIGReg of lightly 1\.5\.24 or newer"):
        build("lejepa")
