import numpy as np
import pytest
from scipy.special import expit, logit

from dbtssl.config import validate
from dbtssl.errors import ConfigError
from dbtssl.evaluation.aggregation.simple import LogSumExp, Max, Mean, NoisyOr, TopK, ZRun, settled
from dbtssl.interfaces import Aggregator, Groups

ALL = (Mean, Max, TopK, NoisyOr, LogSumExp, ZRun)


def groups(*values):
    offsets = np.cumsum([0, *(len(v) for v in values)])
    return Groups(np.concatenate(values).astype(float), offsets)


def default(cls):
    return cls(cls.Config()) if hasattr(cls, "Config") else cls()


@pytest.mark.parametrize("cls", ALL)
def test_is_an_aggregator(cls):
    assert isinstance(default(cls), Aggregator)


def runs(p, window):
    width = min(window, len(p))
    return max(p[i : i + width].mean() for i in range(len(p) - width + 1))


# what each gives for one group of logits, written on the scale of probabilities
BRUTE_FORCE = [
    (Mean(), lambda x: logit(expit(x).mean())),
    (Max(), lambda x: max(x)),
    (TopK(TopK.Config(k=1)), lambda x: max(x)),
    (TopK(TopK.Config(k=3)), lambda x: logit(np.sort(expit(x))[::-1][:3].mean())),
    (NoisyOr(), lambda x: logit(1 - np.prod(1 - expit(x)))),
    (LogSumExp(LogSumExp.Config(temperature=1.0)), lambda x: np.log(np.mean(np.exp(x)))),
    (
        LogSumExp(LogSumExp.Config(temperature=0.5)),
        lambda x: 0.5 * np.log(np.mean(np.exp(2 * np.asarray(x)))),
    ),
    (ZRun(ZRun.Config(window=1)), lambda x: max(x)),
    (ZRun(ZRun.Config(window=4)), lambda x: logit(runs(expit(x), 4))),
    (ZRun(ZRun.Config(window=50)), lambda x: logit(expit(x).mean())),
]


@pytest.mark.parametrize(("aggregator", "of_one"), BRUTE_FORCE)
def test_each_is_what_its_definition_says_on_ragged_groups(aggregator, of_one):
    rng = np.random.default_rng(0)
    values = [rng.normal(size=n) * 2 - 1 for n in (1, 2, 3, 7, 20, 1, 4)]
    values.append(np.array([1.0, 1.0, -2.0, 1.0, 1.0]))  # ties
    expected = [of_one(v) for v in values]
    np.testing.assert_allclose(aggregator(groups(*values)), expected, rtol=1e-10)


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("sign", [1, -1])
def test_saturated_logits_stay_finite_and_keep_their_order(cls, sign):
    """Their probabilities all round to 1, or to less than the smallest number."""
    levels = np.sort([sign * v for v in (40.0, 41.0, 500.0, 999.0, 1000.0)])
    scores = default(cls)(groups(*(np.array([v, v - 1, v - 3]) for v in levels)))
    assert np.isfinite(scores).all()
    assert (np.diff(scores) > 0).all()


@pytest.mark.parametrize("cls", [Mean, Max, TopK, LogSumExp, ZRun])
@pytest.mark.parametrize("value", [-1000.0, -3.0, 0.0, 1000.0])
def test_equal_logits_give_themselves(cls, value):
    np.testing.assert_allclose(default(cls)(groups(np.full(5, value))), [value], rtol=1e-12)


@pytest.mark.parametrize("cls", ALL)
def test_plus_and_minus_a_thousand_together(cls):
    scores = default(cls)(groups([1000.0, -1000.0], [-1000.0, -1000.0], [1000.0, 1000.0]))
    assert np.isfinite(scores).all()
    assert scores[1] < scores[0] <= scores[2]


def test_noisy_or_of_one_is_itself_and_of_more_is_more():
    values = np.array([-1000.0, -40.0, -36.0, -1.0, 0.0, 5.0, 36.0, 1000.0])
    np.testing.assert_allclose(NoisyOr()(groups(*([v] for v in values))), values, rtol=1e-12)
    # far below, probabilities add: n of them are log n more
    two = NoisyOr()(groups([-500.0, -500.0]))
    np.testing.assert_allclose(two, [-500 + np.log(2)], rtol=1e-12)


def test_a_run_in_z_beats_a_single_bright_slice():
    lonely = np.full(20, -4.0)
    lonely[3] = 6.0
    lesion = np.full(20, -4.0)
    lesion[5:12] = 2.0
    assert np.diff(Max()(groups(lonely, lesion)))[0] < 0
    assert np.diff(ZRun(ZRun.Config(window=7))(groups(lonely, lesion)))[0] > 0


def test_a_run_does_not_reach_into_the_next_volume():
    a, b = [-5.0, -5.0, 4.0], [4.0, -5.0, -5.0]
    np.testing.assert_allclose(
        ZRun(ZRun.Config(window=2))(groups(a, b)),
        [logit((expit(-5) + expit(4)) / 2)] * 2,
        atol=1e-12,
    )


@pytest.mark.parametrize(
    ("cls", "options"),
    [(TopK, {"k": 0}), (LogSumExp, {"temperature": 0.0}), (ZRun, {"window": 0}), (TopK, {"q": 1})],
)
def test_options_out_of_range(cls, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        validate(cls.Config, options)


@pytest.mark.parametrize(
    "aggregator",
    [Mean(), NoisyOr(), LogSumExp(LogSumExp.Config(temperature=0.5)), TopK(TopK.Config(k=5))],
)
def test_members_in_another_order_give_the_very_same_score(aggregator):
    """Sums differ in their last bits; such a slice would win or lose a rank by rounding alone."""
    rng = np.random.default_rng(0)
    for spread in (1e-3, 1.0, 30.0, 1e4):
        values = rng.normal(scale=spread, size=8)
        orders = [values[rng.permutation(8)] for _ in range(50)]
        assert len(set(aggregator(groups(*orders)).tolist())) == 1


def test_what_is_settled_keeps_its_order():
    rng = np.random.default_rng(0)
    values = np.sort(rng.normal(size=2000) * 10.0 ** rng.uniform(-20, 200, 2000))
    found = settled(values)
    assert (np.diff(found) >= 0).all()
    np.testing.assert_allclose(found, values, rtol=1e-11, atol=1e-12)
    steps = np.array([9.9999999, 10.0, 10.0000001, 99.9999999, 100.0, 100.0000001])
    assert (np.diff(settled(steps)) > 0).all()
