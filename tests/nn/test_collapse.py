import math

import numpy as np
import pytest
import torch
from lightly.utils.debug import std_of_l2_normalized

from dbtssl.nn.collapse import feature_std, one_vector, rankme, softmax_entropy


def test_equals_lightlys() -> None:
    z = torch.randn(64, 16) * 3.0
    torch.testing.assert_close(feature_std(z), std_of_l2_normalized(z))


def test_zero_if_collapsed_and_one_over_root_of_the_dimension_if_even() -> None:
    assert float(feature_std(torch.ones(8, 16))) < 1e-6
    torch.manual_seed(0)
    even = float(feature_std(torch.randn(4000, 16)))
    assert math.isclose(even, 1 / math.sqrt(16), rel_tol=0.02)


@pytest.mark.parametrize("shape", [(12, 5), (5, 12), (8, 8)])
def test_rankme_is_exp_of_the_entropy_of_the_singular_values(shape) -> None:
    z = np.random.default_rng(0).standard_normal(shape) * np.arange(1, shape[1] + 1)
    s = np.linalg.svd(z, compute_uv=False)
    p = s / s.sum() + 1e-7  # equation 2
    expected = math.exp(-(p * np.log(p)).sum())
    assert float(rankme(torch.from_numpy(z))) == pytest.approx(expected, rel=1e-5)


def test_rankme_on_worked_numbers() -> None:
    assert float(rankme(torch.eye(6))) == pytest.approx(6.0, rel=1e-4)
    assert float(rankme(torch.ones(8, 16))) == pytest.approx(1.0, abs=1e-3)
    two = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    assert float(rankme(two)) == pytest.approx(
        math.exp(0.75 * math.log(4 / 3) + 0.25 * math.log(4))
    )


def test_rankme_is_not_rounded_by_autocast() -> None:
    z = torch.randn(16, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(rankme(z), rankme(z.float()))


def test_features_that_are_one_vector_are_told() -> None:
    z = torch.ones(16, 25) + 1e-3 * torch.randn(16, 25)
    assert "one vector (their standard deviation is 0.0" in one_vector(float(feature_std(z)), 25)
    assert one_vector(0.0061, 25) == ""  # 0.0305 of 1 / 5
    assert one_vector(0.0059, 25) != ""
    assert one_vector(float(feature_std(torch.randn(16, 25))), 25) == ""
    assert one_vector(math.nan, 25) == ""  # of a single image


def test_entropy_on_worked_numbers():
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1e3, 0.0, 0.0, 0.0]])
    assert softmax_entropy(logits).item() == pytest.approx(math.log(4) / 2)
