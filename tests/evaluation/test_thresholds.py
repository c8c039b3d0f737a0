"""Thresholds of both protocols, and the released SIFT-DBT evaluation as it is written, beside ours."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import expit
from sklearn.metrics import classification_report, roc_auc_score, roc_curve

from dbtssl.evaluation.clustered import patient_draws
from dbtssl.evaluation.intervals import drawn_value
from dbtssl.evaluation.measures import AT_THRESHOLD, measure
from dbtssl.evaluation.operating_points import balanced_threshold
from dbtssl.evaluation.protocol import AS_PUBLISHED, STRICT, Protocol
from dbtssl.evaluation.rates import rate_draws
from dbtssl.evaluation.score import score_units
from dbtssl.evaluation.threshold_rules import choose_threshold, threshold_draws, threshold_rule
from dbtssl.evaluation.thresholds import choice_of_threshold

GRID = threshold_rule("balanced-grid")
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
        assert measure(test, val, STRICT).threshold == balanced_threshold(val.abnormal, val.scores)


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


def test_a_threshold_of_the_test_set_is_chosen_anew_in_the_same_draws(splits):
    """Where the threshold comes from the patients that are scored, one draw serves both."""
    test, val = splits()
    weights = patient_draws(test.abnormal, test.patients)
    thresholds = threshold_draws(test, weights, threshold_rule("balanced-grid"))
    draws = rate_draws(test, thresholds, weights)["balanced-accuracy"]
    value = measure(test, val, AS_PUBLISHED).values["balanced-accuracy"]
    assert value == drawn_value("balanced-accuracy", value.value, draws, test, 0.95)
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


def drawn(seed, positives=39, negatives=400, effect=1.5, shift=0.0, scale=1.0):
    rng = np.random.default_rng(seed)
    abnormal = np.arange(positives + negatives) < positives
    return abnormal, scale * (rng.normal(size=len(abnormal)) + effect * abnormal) + shift


def released(abnormal, scores):
    """`volume_eval.py:74-113` and `utils.py:141-145` of XYPB/SIFT_DBT at bcc16a5b, on probabilities."""
    p = expit(scores)
    gaps = []
    for t in np.arange(0, 101) / 100:
        recall_abnormal = (p > t)[abnormal].mean()
        macro_recall = ((p <= t)[~abnormal].mean() + recall_abnormal) / 2
        gaps.append(abs(macro_recall - recall_abnormal))
    t = np.argmin(gaps) / 100
    report = classification_report(abnormal, p > t, output_dict=True, zero_division=0)
    return {
        "auc": roc_auc_score(abnormal, p),
        "npv": report["False"]["precision"],
        "nr": report["False"]["recall"],
        "ar": report["True"]["recall"],
    }


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_volumes_as_published_are_what_the_released_code_prints(units, seed, scale):
    abnormal, scores = drawn(seed, negatives=150, scale=scale)
    row = score_units(units(abnormal, scores), None, AS_PUBLISHED)
    for name, value in released(abnormal, scores).items():
        assert row.values[name].value == pytest.approx(value, abs=1e-12), name
    assert row.diagnostic


def test_slices_as_published_are_called_at_one_half(units):
    abnormal, scores = drawn(0)
    row = score_units(units(abnormal, scores, level="slice"), None, AS_PUBLISHED)
    report = classification_report(abnormal, expit(scores) > 0.5, output_dict=True)
    assert row.threshold == 0
    assert row.values["npv"].value == pytest.approx(report["False"]["precision"])
    assert row.values["ar"].value == pytest.approx(report["True"]["recall"])


def test_the_specificity_as_published_is_at_the_nearest_vertex(units):
    """Of all vertices; scikit-learn's `roc_curve` drops those within a straight run unless it is told not to."""
    abnormal, scores = drawn(1)
    row = score_units(units(abnormal, scores), None, AS_PUBLISHED)
    fpr, tpr, _ = roc_curve(abnormal, scores, drop_intermediate=False)
    for name, target in (("sp@87", 0.87), ("sp@80", 0.80)):
        nearest = np.argmin(np.abs(tpr - target))
        assert row.values[name].value == pytest.approx(1 - fpr[nearest])
        assert row.attained[name] == pytest.approx(tpr[nearest])
    assert row.attained["sp@80"] == pytest.approx(31 / 39)  # below 80 %


def test_the_grid_cannot_balance_what_is_above_it(units):
    """Saturated scores: the exact rule balances them, the released grid ends at 0.99 (facts of the paper's table 3)."""
    abnormal, scores = drawn(0, shift=9.0)
    t = choose_threshold(abnormal, scores, GRID)
    recalls = [(scores[~abnormal] <= t).mean(), (scores[abnormal] > t).mean()]
    assert abs(recalls[0] - recalls[1]) > 0.9
    exact = balanced_threshold(abnormal, scores)
    assert abs((scores[~abnormal] <= exact).mean() - (scores[abnormal] > exact).mean()) < 0.05


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([-800.0, 800.0], 0),  # any of the grid but its ends; the lowest is 0.01
        ([-800.0, -800.0], -800.0),
    ],
)
def test_the_ends_of_the_grid_are_finite(scores, expected):
    t = choose_threshold(np.array([False, True]), np.array(scores), GRID)
    assert np.isfinite(t)
    if expected:
        assert t < expected or (np.array(scores) <= t).all()
    else:
        assert scores[0] <= t < scores[1]
