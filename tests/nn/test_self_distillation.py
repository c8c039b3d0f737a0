from __future__ import annotations

import math

import pytest

from dbtssl.nn.self_distillation import cosine_momentum, warmed_up


def test_momentum_is_a_cosine_to_one():
    found = [cosine_momentum(0.996, p) for p in (0.0, 0.25, 0.5, 1.0)]
    quarter = 1 - 0.004 * (1 + math.sqrt(0.5)) / 2
    assert found == pytest.approx([0.996, quarter, 0.998, 1.0], abs=1e-12)


def test_the_temperature_rises_evenly_and_stays():
    found = [warmed_up(0.04, 0.07, 0.3, p) for p in (0.0, 0.1, 0.3, 1.0)]
    assert found == pytest.approx([0.04, 0.05, 0.07, 0.07])
    assert warmed_up(0.04, 0.07, 0.0, 0.0) == 0.07
