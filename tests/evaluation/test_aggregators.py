import numpy as np
import pytest
from scipy.special import expit, logit

from dbtssl.evaluation.aggregators import Max, Mean
from dbtssl.interfaces import Aggregator, Groups


def groups(*values):
    offsets = np.cumsum([0, *(len(v) for v in values)])
    return Groups(np.concatenate(values).astype(float), offsets)


@pytest.mark.parametrize("cls", [Mean, Max])
def test_is_an_aggregator(cls):
    assert isinstance(cls(**cls.Config().model_dump()), Aggregator)


def test_mean_is_the_logit_of_the_mean_probability():
    rng = np.random.default_rng(0)
    values = [rng.normal(size=n) * 4 for n in (1, 2, 7, 20)]
    expected = [logit(expit(v).mean()) for v in values]
    np.testing.assert_allclose(Mean()(groups(*values)), expected, rtol=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
def test_mean_keeps_the_order_of_saturated_logits(sign):
    """Their probabilities all round to 1 (or to less than the smallest number)."""
    raised = [np.array([v, v + 1, v + 2]) * sign for v in (40.0, 41.0, 800.0, 801.0)]
    scores = Mean()(groups(*raised))
    assert np.isfinite(scores).all()
    assert (np.diff(scores) * sign > 0).all()
    np.testing.assert_allclose(Mean()(groups(np.full(5, 750.0 * sign))), [750.0 * sign], rtol=1e-12)


def test_max_of_ragged_groups():
    np.testing.assert_array_equal(Max()(groups([1.0], [3, -2, 5], [-4, -7])), [1, 5, -4])
