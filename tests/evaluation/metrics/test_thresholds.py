import numpy as np
import pytest
from pydantic import ValidationError

from dbtssl.evaluation.metrics.measure import measure
from dbtssl.evaluation.metrics.rates import BALANCED_ACCURACY, METRICS, rate_draws
from dbtssl.evaluation.metrics.thresholds import choice_of_threshold
from dbtssl.evaluation.operating_points.threshold_rules import (
    choose_threshold,
    threshold_draws,
    threshold_rule,
)
from dbtssl.evaluation.protocol import AS_PUBLISHED, STRICT, Protocol
from dbtssl.evaluation.statistics.clustered import patient_draws
from dbtssl.evaluation.statistics.intervals import drawn_value

from ..conftest import balanced

AT_THRESHOLD = tuple(metric.name for metric in METRICS)
N = 60
ABNORMAL = np.arange(N) < 15


@pytest.fixture
def splits(units):
    """Makes a test and a validation set of one level."""

    def make(level="volume"):
        rng = np.random.default_rng(0)
        pair = (
            units(ABNORMAL, rng.normal(size=N) + ABNORMAL - shift, level=level) for shift in (0, 1)
        )
        return tuple(pair)

    return make


def test_strict_never_looks_at_the_test_split(splits):
    for level in ("slice", "volume", "breast", "patient"):
        test, val = splits(level)
        choice = choice_of_threshold(test, val, STRICT)
        assert choice.units is val
        assert choice.rule == threshold_rule("balanced")
        assert measure(test, val, STRICT).threshold == balanced(val.abnormal, val.scores)


def test_as_published_takes_one_half_for_slices_and_the_grid_on_test_for_volumes(splits):
    test, val = splits("slice")
    assert measure(test, val, AS_PUBLISHED).threshold == 0
    test, val = splits("volume")
    row = measure(test, val, AS_PUBLISHED)
    assert row.threshold == choose_threshold(
        test.abnormal, test.scores, threshold_rule("balanced-grid")
    )
    assert row.diagnostic
    assert measure(test, None, AS_PUBLISHED).threshold == row.threshold


def test_a_threshold_of_the_test_set_is_chosen_again_in_the_same_draws(splits):
    """Where the threshold comes from the patients that are scored, one draw serves both."""
    test, val = splits()
    weights = patient_draws(test.abnormal, test.patients)
    thresholds = threshold_draws(test, weights, threshold_rule("balanced-grid"))
    draws = rate_draws(test, thresholds, weights)["balanced-accuracy"]
    value = measure(test, val, AS_PUBLISHED).values["balanced-accuracy"]
    assert value == drawn_value(BALANCED_ACCURACY, value.value, draws, test, 0.95)
    assert value != measure(test, val, STRICT).values["balanced-accuracy"]


def test_every_rule_of_validation_is_reached(splits):
    test, val = splits()
    for rule in ("youden", "sensitivity-0.9", "cost-20"):
        protocol = Protocol(name="own", version=1, threshold=f"validation-{rule}")
        row = measure(test, val, protocol)
        assert row.threshold == choose_threshold(val.abnormal, val.scores, threshold_rule(rule))
        assert protocol.digest != Protocol(name="own", version=1).digest


@pytest.mark.parametrize(
    ("threshold", "words"),
    [
        (
            "validation-balanced",
            "the threshold that brings NR and AR closest, chosen on the validation split",
        ),
        (
            "validation-sensitivity-0.9",
            "the highest with AR of at least 0.9, chosen on the validation split",
        ),
        (
            "validation-cost-20",
            "a missed abnormal costs as much as 20 recalled normals, chosen on the validation",
        ),
        (
            "test-balanced-grid",
            "among the probabilities 0, 0.01, ... 1, chosen on THE TEST SET ITSELF",
        ),
        ("one-half", "at a probability of one half"),
    ],
)
def test_the_protocol_says_it_in_words(threshold, words):
    protocol = Protocol(name="own", version=1, threshold=threshold, slice_threshold=threshold)
    assert words in protocol.words()


@pytest.mark.parametrize(
    "threshold",
    [
        "balanced",
        "validation-one-half",
        "validation-balanced-grid",
        "test-balanced",
        "test-youden",
        "",
        "validation-sensitivity-2",
        "validation-",
    ],
)
def test_thresholds_that_a_protocol_refuses(threshold):
    """Only SIFT-DBT's own rules may look at the test split."""
    for field in ("threshold", "slice_threshold"):
        with pytest.raises(ValidationError, match="unknown threshold"):
            Protocol(name="own", version=1, **{field: threshold})


def test_a_probability_needs_logits(splits):
    for level in ("slice", "volume"):
        test, val = splits(level)
        for row in (
            measure(test, val, AS_PUBLISHED, "shortcut", "frames", logits=False),
            measure(test, val, AS_PUBLISHED, logits=False),
        ):
            assert {row.values[m].reason for m in AT_THRESHOLD} == {
                "no threshold: protocol as-published takes a probability"
            }
            assert row.threshold is None


def test_no_validation_no_threshold(splits):
    row = measure(splits()[0], None, STRICT)
    assert {row.values[m].reason for m in AT_THRESHOLD} == {
        "no threshold: no validation predictions were given"
    }
