"""The released SIFT-DBT evaluation as it is written, beside protocol as-published."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import classification_report, roc_auc_score, roc_curve

from dbtssl.evaluation.operating_points.threshold_rules import choose_threshold, threshold_rule
from dbtssl.evaluation.protocol import AS_PUBLISHED
from dbtssl.evaluation.score import score_units

from ..conftest import balanced


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


@pytest.mark.parametrize("levels", [None, 8, 2])
@pytest.mark.parametrize("seed", range(6))
def test_the_specificity_as_published_is_at_the_nearest_vertex(units, seed, levels):
    """Of the vertices of scikit-learn's `roc_curve` as the released code calls it, without those in a straight run."""
    abnormal, scores = drawn(seed)
    scores = scores if levels is None else np.round(levels * scores) / levels
    row = score_units(units(abnormal, scores), None, AS_PUBLISHED)
    fpr, tpr, _ = roc_curve(abnormal, scores)
    for name, target in (("sp@87", 0.87), ("sp@80", 0.80)):
        nearest = np.argmin(np.abs(tpr - target))
        assert row.values[name].value == pytest.approx(1 - fpr[nearest])
        assert row.attained[name] == pytest.approx(tpr[nearest])


def test_vertices_within_a_straight_run_are_dropped(units):
    """Perfect scores: scikit-learn keeps 1 of 10 and 10 of 10, so the nearest to 0.8 is all of them."""
    abnormal = np.arange(20) >= 10
    row = score_units(units(abnormal, np.arange(20.0)), None, AS_PUBLISHED)
    assert row.attained["sp@80"] == 1
    assert row.values["sp@80"].value == 1


def test_the_grid_cannot_balance_what_is_above_it(units):
    """Saturated scores: the exact rule balances them, the released grid ends at 0.99 (facts of the paper's table 3)."""
    abnormal, scores = drawn(0, shift=9.0)
    t = choose_threshold(abnormal, scores, threshold_rule("balanced-grid"))
    recalls = [(scores[~abnormal] <= t).mean(), (scores[abnormal] > t).mean()]
    assert abs(recalls[0] - recalls[1]) > 0.9
    exact = balanced(abnormal, scores)
    assert abs((scores[~abnormal] <= exact).mean() - (scores[abnormal] > exact).mean()) < 0.05
