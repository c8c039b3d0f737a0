from __future__ import annotations

import math

import pytest

from dbtssl.training.pretraining.optimizers import learning_rate, weight_decay
from dbtssl.training.pretraining.pretrain import PretrainConfig

PER_EPOCH, EPOCHS = 5, 8
TOTAL = PER_EPOCH * EPOCHS


def test_learning_rate_against_its_closed_form():
    config = PretrainConfig(epochs=EPOCHS, lr=0.4, min_lr=0.01, warmup_epochs=1.6)
    rise = 8  # steps
    expected = [0.4 * (t + 1) / rise for t in range(rise)]
    left = TOTAL - rise
    expected += [0.01 + 0.39 * (1 + math.cos(math.pi * t / (left - 1))) / 2 for t in range(left)]
    found = [learning_rate(config, t, PER_EPOCH, TOTAL) for t in range(TOTAL)]
    assert found == pytest.approx(expected, rel=1e-12)
    assert (max(found), found[-1]) == pytest.approx((0.4, 0.01))


@pytest.mark.parametrize(("start", "end"), [(0.04, 0.4), (0.3, 0.0), (0.0, 0.1)])
def test_weight_decay_against_its_closed_form(start, end):
    config = PretrainConfig(weight_decay=start, weight_decay_end=end)
    found = [weight_decay(config, t, TOTAL) for t in range(TOTAL)]
    rise = [
        end + (start - end) * (1 + math.cos(math.pi * t / (TOTAL - 1))) / 2 for t in range(TOTAL)
    ]
    assert found == pytest.approx(rise, abs=1e-15)
    assert (found[0], found[-1]) == pytest.approx((start, end))


def test_weight_decay_is_constant_unless_an_end_is_given():
    config = PretrainConfig(weight_decay=0.04)
    assert {weight_decay(config, t, TOTAL) for t in range(TOTAL)} == {0.04}


def test_a_training_of_one_step_has_a_rate():
    config = PretrainConfig(
        epochs=1, lr=0.4, weight_decay=0.04, weight_decay_end=0.4, warmup_epochs=1
    )
    assert learning_rate(config, 0, 1, 1) == 0.4
    assert weight_decay(config, 0, 1) == 0.4
