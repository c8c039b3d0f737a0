"""Whatever the scores: a defined value or a reason in words, and never nan."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from dbtssl.config import canonical_json
from dbtssl.errors import DataError
from dbtssl.evaluation.catalogue import CATALOGUE, MEASURED, METRICS
from dbtssl.evaluation.metrics import calibration, rates
from dbtssl.evaluation.metrics.curve_draws import curve_draws
from dbtssl.evaluation.metrics.measure import PROBABILITIES, measure
from dbtssl.evaluation.protocol import AS_PUBLISHED, STRICT
from dbtssl.evaluation.values import Row, Value

from ..conftest import balanced

AT_THRESHOLD = tuple(m.name for m in rates.METRICS)
CALIBRATION = tuple(m.name for m in calibration.METRICS)
CURVE_METRICS = tuple(m.name for m in METRICS if m.draws)
N, POSITIVES = 60, 15
RNG = np.random.default_rng(0)
ABNORMAL = np.arange(N) < POSITIVES
SCORES = {
    "ordinary": RNG.normal(size=N) + ABNORMAL,
    "perfect": np.arange(N, 0, -1.0),
    "inverted": np.arange(N, dtype=float),
    "constant": np.zeros(N),
    "two values": (RNG.random(N) < 0.5).astype(float),
    "tied within a class": ABNORMAL * 1.0,
    "tied at zero": np.where(ABNORMAL, 0.0, RNG.normal(size=N)),
    "huge": 1e149 * RNG.normal(size=N),
    "tiny": 1e-300 * RNG.normal(size=N),
    "neighbours": np.where(RNG.random(N) < 0.5, 1.0, np.nextafter(1.0, 2.0)),
    "saturated": np.where(RNG.random(N) < 0.5, 800.0, -800.0),
}
PATIENTS = {
    "one a patient": np.arange(N),
    "mixed patients": np.arange(N) % 10,
    "one positive patient": np.where(ABNORMAL, 0, np.arange(N)),
    "one normal patient": np.where(ABNORMAL, np.arange(N), 99),
    "one patient": np.zeros(N, dtype=int),
    "few positive patients": np.where(ABNORMAL, np.arange(N) % 3, np.arange(N)),
}
PROTOCOLS = [
    STRICT.model_copy(update={"specificity_rule": rule})
    for rule in ("at-least", "interpolated", "nearest")
]


def check(row):
    """Every metric has a finite value in its range with an interval that holds it, or says why not."""
    assert tuple(row.values) == MEASURED
    text = canonical_json(row)  # refuses nan and infinity
    assert Row.model_validate_json(text) == row
    for name, value in row.values.items():
        if value.value is None:
            assert value.reason, name
        else:
            assert CATALOGUE[name].holds(value.value), name
        if value.low is None or value.high is None:
            assert value.low is value.high is None
            assert value.reason, name
        else:
            assert value.low <= value.value + 1e-12, name
            assert value.value <= value.high + 1e-12, name
            assert value.reason == "", name
    for name, cut in {**row.cuts}.items():
        assert np.isfinite(cut), name


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.specificity_rule)
@pytest.mark.parametrize("patients", PATIENTS)
@pytest.mark.parametrize("scores", SCORES)
def test_any_scores_of_any_patients(units, scores, patients, protocol):
    test = units(ABNORMAL, SCORES[scores], PATIENTS[patients])
    val = units(ABNORMAL[::-1], SCORES["ordinary"][::-1], PATIENTS[patients])
    check(measure(test, val, protocol))
    if protocol is PROTOCOLS[0]:
        check(measure(val, test, protocol))
        check(measure(test, None, protocol))


@pytest.mark.parametrize("split", ["test", "validation"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e151])
def test_scores_that_are_not_finite_are_refused(units, split, bad):
    good, broken = units(ABNORMAL, SCORES["ordinary"]), units(ABNORMAL, SCORES["ordinary"].copy())
    broken.scores[[2, 5]] = bad
    pair = (broken, good) if split == "test" else (good, broken)
    with pytest.raises(
        DataError,
        match=f"the {split} split: 2 scores of volumes are not finite numbers, the first is .* of u00002",
    ):
        measure(*pair, STRICT)


@pytest.mark.parametrize(("abnormal", "missing"), [(True, "normal"), (False, "abnormal")])
def test_one_class_has_no_values(units, abnormal, missing):
    one = units(np.full(N, abnormal), SCORES["ordinary"])
    both = units(ABNORMAL, SCORES["ordinary"])
    row = measure(one, both, STRICT)
    check(row)
    assert {v.reason for v in row.values.values()} == {f"the test split has no {missing} volume"}
    row = measure(both, one, STRICT)
    check(row)
    for name in (*AT_THRESHOLD, *CALIBRATION):
        assert row.values[name].value is None
        assert row.values[name].reason.endswith(f"the validation split has no {missing} volume")
    assert row.threshold is row.tp is None


def test_a_single_unit_of_each_class(units):
    row = measure(units([1, 0], [1.0, 0.0]), units([1, 0], [0.5, 0.0]), STRICT)
    check(row)
    assert row.values["auc"].value == row.values["ap"].value == 1
    assert row.values["workload@0"].value == 1
    assert row.values["workload@1"].reason == "there are no more than 1 positive patients to miss"


def test_values_are_scikit_learns(units):
    scores = SCORES["ordinary"]
    val = units(ABNORMAL[::-1], SCORES["ordinary"][::-1] + 0.3)
    row = measure(units(ABNORMAL, scores), val, STRICT)
    shown = {name: value.value for name, value in row.values.items()}
    assert shown["auc"] == pytest.approx(roc_auc_score(ABNORMAL, scores))
    assert shown["ap"] == pytest.approx(average_precision_score(ABNORMAL, scores))
    assert shown["pauc-spec@90"] == pytest.approx(roc_auc_score(ABNORMAL, scores, max_fpr=0.1))
    assert shown["pauc-sens@80"] == pytest.approx(roc_auc_score(~ABNORMAL, -scores, max_fpr=0.2))
    # 1/2 (1 + (A - w^2 / 2) / (w - w^2 / 2))
    for name, w in (("pauc-spec@90", 0.1), ("pauc-sens@80", 0.2)):
        raw = shown[f"{name}-raw"]
        assert shown[name] == pytest.approx(0.5 * (1 + (raw - w * w / 2) / (w - w * w / 2)))
    p = 1 / (1 + np.exp(-(scores + np.log(0.25 / 0.75))))  # prevalence of validation: 15 of 60
    assert shown["brier"] == pytest.approx(brier_score_loss(ABNORMAL, p))
    assert shown["brier-skill"] == pytest.approx(1 - shown["brier"] / (0.25 * 0.75))
    assert shown["prevalence"] == 0.25
    assert row.threshold == balanced(val.abnormal, val.scores)


def test_what_is_attained_at_every_point(units):
    scores = np.round(SCORES["ordinary"], 1)
    for protocol in PROTOCOLS:
        row = measure(units(ABNORMAL, scores), None, protocol)
        assert set(row.attained) == {n for n in MEASURED if n[:3] in ("sp@", "se@")}
        for name, attained in row.attained.items():
            if name not in row.cuts:
                assert protocol.specificity_rule == "interpolated"
                assert attained == pytest.approx(float(name[3:]) / 100)
                continue
            called = scores > row.cuts[name]
            both = called[ABNORMAL].mean(), (~called)[~ABNORMAL].mean()
            got = (attained, row.values[name].value)
            assert got == pytest.approx(both if name[:3] == "sp@" else both[::-1])
        for name in ("workload@0", "workload@1", "workload@2"):
            left_out = scores <= row.cuts[name]
            assert row.values[name].value == pytest.approx(left_out[~ABNORMAL].mean())
            assert left_out[ABNORMAL].sum() <= int(name[-1])


def test_constant_scores_know_nothing(units):
    """AUC 1/2, average precision the prevalence, NPV that of calling all the same."""
    flat = units(ABNORMAL, np.zeros(N))
    row = measure(flat, flat, STRICT)
    shown = {name: value.value for name, value in row.values.items()}
    assert shown["auc"] == shown["pauc-sens@80"] == shown["pauc-spec@90"] == 0.5
    assert shown["ap"] == shown["prevalence"] == 0.25
    assert shown["brier-skill"] == pytest.approx(0)
    assert shown["ece"] == pytest.approx(0, abs=1e-15)
    assert shown["balanced-accuracy"] == 0.5
    reasons = {v.reason for name, v in row.values.items() if v.value is not None}
    assert reasons == {"all scores are equal"}


def test_scores_that_are_no_logits_have_no_calibration(units):
    of = units(ABNORMAL, SCORES["ordinary"])
    row = measure(of, of, STRICT, "shortcut", "frames", logits=False)
    check(row)
    assert (row.kind, row.name) == ("shortcut", "frames")
    assert {row.values[name].reason for name in CALIBRATION} == {"the scores are no logits"}
    assert {row.values[name].value for name in CALIBRATION} == {None}


def test_another_reason_why_there_is_no_calibration(units):
    of = units(ABNORMAL, SCORES["ordinary"])
    row = measure(of, of, STRICT, uncalibrated="another prevalence")
    assert {row.values[name].reason for name in CALIBRATION} == {"another prevalence"}
    assert row.threshold is not None


def test_scores_that_are_no_logits_meet_no_probability(units):
    of = units(ABNORMAL, 1 / (1 + np.exp(-SCORES["ordinary"])))
    row = measure(of, of, STRICT, logits=False, uncalibrated=PROBABILITIES)
    check(row)
    assert {row.values[name].reason for name in CALIBRATION} == {PROBABILITIES}
    assert row.values["auc"].value == pytest.approx(roc_auc_score(ABNORMAL, of.scores))
    published = measure(of, of, AS_PUBLISHED, logits=False).values["nr"]
    assert published.reason == "no threshold: protocol as-published takes a probability"


def test_weak_logits_are_logits(units):
    """Whether all lie in [0, 1] hangs on the last bits of a short training; it decides nothing."""
    of = units(ABNORMAL, 0.5 + 0.05 * SCORES["ordinary"])
    assert 0 < of.scores.min() < of.scores.max() < 1
    assert measure(of, of, AS_PUBLISHED.model_copy(update={"threshold": "one-half"})).threshold == 0
    assert measure(of, of, STRICT).values["brier"].value is not None


def test_a_monotone_map_changes_no_ranking_metric(units):
    of = units(ABNORMAL, SCORES["ordinary"])
    mapped = replace(of, scores=np.exp(of.scores))
    mine, theirs = measure(of, None, STRICT), measure(mapped, None, STRICT)
    for name in CURVE_METRICS:
        assert mine.values[name] == theirs.values[name], name


def test_any_level_will_do(units):
    for level in ("slice", "volume", "breast", "patient"):
        of = units(ABNORMAL, SCORES["ordinary"], level=level)
        row = measure(of, of, STRICT)
        check(row)
        assert row.level == level


def test_a_point_estimate_is_a_draw_of_everybody_once(units):
    of = units(ABNORMAL, np.round(SCORES["ordinary"]), np.arange(N) % 20)
    once = curve_draws(of, np.ones((1, 20)), "at-least", METRICS)
    row = measure(of, None, STRICT)
    for name in CURVE_METRICS:
        assert row.values[name].value == pytest.approx(once[name][0], abs=1e-12), name


def test_a_row_refuses_a_share_beyond_its_range(units):
    of = units(ABNORMAL, SCORES["ordinary"])
    data = json.loads(canonical_json(measure(of, of, STRICT)))
    Row.model_validate(data)
    for name, bad in (("auc", 1.01), ("brier", -0.1), ("npv-gain", -2.5)):
        broken = {**data, "values": {**data["values"], name: {"value": bad}}}
        with pytest.raises(ValueError, match=f"{name} is {bad:g}, outside"):
            Row.model_validate(broken)
    skill = {**data, "values": {"brier-skill": {"value": -10.05}}}
    assert Row.model_validate(skill).values["brier-skill"] == Value(value=-10.05)
