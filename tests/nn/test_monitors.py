import math

import numpy as np
import pytest
import torch
from lightly.utils.debug import std_of_l2_normalized

from dbtssl.nn.monitors import feature_std, rankme


def test_equals_lightlys() -> None:
    z = torch.randn(64, 16) * 3.0
    torch.testing.assert_close(feature_std(z), std_of_l2_normalized(z))


def test_zero_if_collapsed_and_one_over_root_of_the_dimension_if_even() -> None:
    assert float(feature_std(torch.ones(8, 16))) < 1e-6
    torch.manual_seed(0)
    even = float(feature_std(torch.randn(4000, 16)))
    assert math.isclose(even, 1 / math.sqrt(16), rel_tol=0.02)


@pytest.mark.parametrize("shape", [(64, 16), (10, 40)])
def test_rankme_equals_numpys(shape) -> None:
    z = np.random.default_rng(0).normal(size=shape) @ np.diag(np.linspace(0.1, 3, shape[1])) + 1.0
    s = np.linalg.svd(z, compute_uv=False)
    p = s / s.sum() + 1e-7
    expected = np.exp(-np.sum(p * np.log(p)))
    assert float(rankme(torch.from_numpy(z))) == pytest.approx(expected, rel=1e-4)


def test_rankme_counts_directions_of_equal_strength_and_one_if_collapsed() -> None:
    assert float(rankme(torch.eye(7) * 5)) == pytest.approx(7, rel=1e-4)
    assert float(rankme(torch.ones(20, 9))) == pytest.approx(1, rel=1e-3)
    assert rankme(torch.eye(4, dtype=torch.bfloat16)).dtype == torch.float32
