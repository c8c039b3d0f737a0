import math

import torch
from lightly.utils.debug import std_of_l2_normalized

from dbtssl.nn.monitors import feature_std


def test_equals_lightlys() -> None:
    z = torch.randn(64, 16) * 3.0
    torch.testing.assert_close(feature_std(z), std_of_l2_normalized(z))


def test_zero_if_collapsed_and_one_over_root_of_the_dimension_if_even() -> None:
    assert float(feature_std(torch.ones(8, 16))) < 1e-6
    torch.manual_seed(0)
    even = float(feature_std(torch.randn(4000, 16)))
    assert math.isclose(even, 1 / math.sqrt(16), rel_tol=0.02)
