import json

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from dbtssl.errors import ConfigError, DataError
from dbtssl.evaluation.aggregation.apply import score_sets
from dbtssl.evaluation.aggregation.simple import Max, Mean
from dbtssl.evaluation.catalogue import MEASURED
from dbtssl.evaluation.metrics.measure import PROBABILITIES
from dbtssl.evaluation.predictions.prediction_table import parse_predictions
from dbtssl.evaluation.protocol import STRICT, protocol
from dbtssl.evaluation.score import score
from dbtssl.evaluation.values import Score

from .conftest import balanced


@pytest.fixture
def tables(make_table):
    return make_table(patients=20, positives=6, prefix="T"), make_table(
        patients=14, positives=5, prefix="V", seed=1
    )


def run(test, val, rules=STRICT, patches=None):
    return score(test, val, rules, Mean(), Max(), patches)


def test_rows_of_both_levels(tables):
    test, val = tables
    result = run(test, val)
    assert [(r.level, r.kind, r.name) for r in result.rows if not r.subgroup] == [
        (level, kind, name)
        for level in ("slice", "volume", "breast", "patient")
        for kind, name in (
            ("method", ""),
            ("shortcut", "volumes in the study"),
            ("shortcut", "frames in the volume"),
            *([("shortcut", "depth in the stack")] if level == "slice" else []),
            ("rule", "all-normal"),
        )
    ]
    test_sets = score_sets(parse_predictions(test), Mean(), Max())
    val_sets = score_sets(parse_predictions(val), Mean(), Max())
    methods = [r for r in result.rows if r.kind == "method" and not r.subgroup]
    for row, units, val_units in zip(methods, test_sets, val_sets, strict=True):
        assert tuple(row.values) == MEASURED
        assert row.values["auc"].value == pytest.approx(roc_auc_score(units.abnormal, units.scores))
        assert row.threshold == balanced(val_units.abnormal, val_units.scores)
        called = units.scores > row.threshold
        assert (row.tp, row.fn) == (
            (called & units.abnormal).sum(),
            (~called & units.abnormal).sum(),
        )
        assert (row.fp, row.tn) == (
            (called & ~units.abnormal).sum(),
            (~called & ~units.abnormal).sum(),
        )
        assert row.values["ar"].value == row.tp / row.n_pos
        assert row.values["nr"].value == row.tn / row.n_neg
        assert row.values["npv"].value == row.tn / (row.tn + row.fn)
        assert (row.n_pos, row.n_neg) == (units.abnormal.sum(), (~units.abnormal).sum())
        assert (row.n_pos_patients, row.n_patients) == (6, 20)
        assert row.attained["sp@87"] >= 0.87
        assert row.attained["sp@80"] >= 0.80
    assert len({r.evaluation_set for r in result.rows if not r.subgroup}) == 4


def test_the_order_of_rows_does_not_matter(tables):
    test, val = tables
    order = np.random.default_rng(0).permutation(test.num_rows)
    assert run(test.take(order), val).to_json() == run(test, val).to_json()


def test_the_threshold_never_sees_the_test_split(tables, make_table):
    test, val = tables
    other = make_table(patients=20, positives=6, prefix="T", seed=5, effect=4.0)
    thresholds = [
        [r.threshold for r in run(t, val).rows if r.kind == "method"] for t in (test, other)
    ]
    assert thresholds[0] == thresholds[1]


def test_json_round_trip(tables):
    result = run(*tables)
    text = result.to_json()
    assert Score.from_json(text) == result
    assert Score.from_json(text).protocol.digest == STRICT.digest
    assert json.loads(text)["patches"] == 4


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"protocol": {"name": "x", "version": 1}}'])
def test_json_that_is_no_score(text):
    with pytest.raises(DataError, match="not a score"):
        Score.from_json(text)


def test_fewer_patches_change_the_scores_and_not_the_set(tables):
    all_, one = run(*tables), run(*tables, patches=1)
    assert one.patches == 1
    assert one.rows[0].values["auc"] != all_.rows[0].values["auc"]
    assert one.rows[0].evaluation_set == all_.rows[0].evaluation_set


def test_actionable_volumes_are_left_out_or_normal(make_table, tables):
    test = make_table(patients=20, positives=6, prefix="T", actionable=3)
    without = run(test, tables[1])
    kept = run(test, tables[1], STRICT.model_copy(update={"actionable": "normal"}))
    assert (without.rows[0].n_patients, kept.rows[0].n_patients) == (17, 20)
    assert kept.rows[5].n_neg - without.rows[5].n_neg == 6
    assert kept.protocol.digest != without.protocol.digest


def test_nothing_left_without_actionable(make_table, tables):
    only = make_table(patients=3, positives=0, actionable=3, prefix="T")
    with pytest.raises(DataError, match="no volume is left in the test split"):
        run(only, tables[1])


def test_a_patient_in_both_splits(make_table):
    with pytest.raises(
        DataError, match="3 patients are in the validation and the test split: P000, P001"
    ):
        run(make_table(patients=3, positives=1), make_table(patients=5, positives=1))


@pytest.mark.parametrize(("positives", "missing"), [(0, "abnormal"), (4, "normal")])
def test_a_test_set_of_one_class_has_no_values(make_table, tables, positives, missing):
    rows = run(make_table(patients=4, positives=positives, prefix="T"), tables[1]).rows
    for row in rows if missing == "abnormal" else rows[5:17]:
        assert {v.value for v in row.values.values()} == {None}
        assert {v.reason for v in row.values.values()} == {
            f"the test split has no {missing} {row.level}"
        }


def test_a_validation_set_of_one_class_gives_no_threshold(make_table, tables):
    row = run(tables[0], make_table(patients=3, positives=0, prefix="V")).rows[0]
    for name in ("npv", "nr", "ar"):
        assert row.values[name].value is None
        assert row.values[name].reason == "no threshold: the validation split has no abnormal slice"
    assert row.values["auc"].value is not None
    assert row.threshold is row.tp is None


def test_equal_scores_have_values_without_intervals(tables):
    """Every study of the phantom holds the same number of volumes."""
    row = run(*tables).rows[1]
    assert row.name == "volumes in the study"
    assert row.values["auc"].value == 0.5
    assert row.values["npv"].reason == "there are no slices called normal"
    for name in ("auc", "nr", "ar", "sp@87", "sp@80"):
        assert row.values[name].reason == "all scores are equal"
        assert row.values[name].low is None


@pytest.mark.parametrize("positives", [0, 1, 2, 3])
def test_tiny_sets_hold_no_nan(make_table, positives):
    test = make_table(patients=3, positives=positives, prefix="T", slices=3, patches=1, effect=50.0)
    val = make_table(patients=2, positives=1, prefix="V", slices=3, patches=1)
    text = run(test, val).to_json()
    assert "nan" not in text.lower()
    assert "infinity" not in text.lower()


def test_a_part_of_the_test_set_is_an_evaluation_set_of_its_own(tables):
    test, val = tables
    volumes = sorted(set(test["volume"].to_pylist()))[::2]
    both = score(test, val, STRICT, Mean(), Max(), subsets={"half": volumes})
    alone = score(
        test.filter([v in volumes for v in test["volume"].to_pylist()]), val, STRICT, Mean(), Max()
    )
    whole = run(test, val)
    part = both.rows[len(whole.rows) :]
    assert part == tuple(r for r in alone.rows if not r.subgroup)
    assert both.rows[: len(whole.rows)] == whole.rows
    with pytest.raises(DataError, match="no volume of the subset none"):
        score(test, val, STRICT, Mean(), Max(), subsets={"none": ["x"]})


def test_breasts_and_patients_have_their_highest_volume(make_table, tables):
    test = make_table(patients=9, positives=4, prefix="T", views=("lcc", "lmlo", "rcc"))
    p = parse_predictions(test)
    volumes, breasts, patients = score_sets(p, Mean(), Max())[1:]
    of = dict(zip(volumes.ids, volumes.scores, strict=True))
    for name, value in zip(breasts.ids, breasts.scores, strict=True):
        assert value == max(s for v, s in of.items() if v.startswith(name))
    for name, value in zip(patients.ids, patients.scores, strict=True):
        assert value == max(s for v, s in of.items() if v.startswith(f"{name}_"))
    assert (len(breasts.ids), len(patients.ids)) == (18, 9)
    assert breasts.abnormal.sum() == 8
    assert set(breasts.patients) == set(patients.patients) == set(volumes.patients)
    lowest = score_sets(p, Mean(), Max(), None, Mean(), Mean())[3]
    assert (lowest.scores <= patients.scores).all()


@pytest.mark.parametrize(
    ("inference", "name"),
    [("oracle", "strict"), ("random", "as-published"), ("grid", "as-published")],
)
def test_patches_that_the_protocol_does_not_allow(tables, inference, name):
    test, val = (t.replace_schema_metadata({"inference": inference}) for t in tables)
    with pytest.raises(
        ConfigError, match=f"were made with {inference} patches; protocol {name} has"
    ):
        run(test, val, protocol(name))


def small(table, **said):
    """The same slices with probabilities in the place of logits, from a file that says ``said``."""
    logits = [[1 / (1 + np.exp(-v)) for v in row] for row in table["logits"].to_pylist()]
    at = table.schema.get_field_index("logits")
    column = pa.array(logits, type=table.schema.field("logits").type)
    return table.set_column(at, table.schema.field("logits"), column).replace_schema_metadata(said)


def test_logits_are_what_the_file_says_and_not_guessed_from_their_range(tables):
    """A short training gives logits in [0, 1] on one processor and not on another."""
    published = protocol("as-published")
    said, unsaid = (
        score(small(tables[0], **of), small(tables[1], **of), published, Mean(), Max())
        for of in ({"schema": "2", "inference": "oracle"}, {"inference": "oracle"})
    )
    logits, probabilities = (
        {r.level: r for r in s.rows if r.kind == "method" and not r.subgroup}
        for s in (said, unsaid)
    )
    for level in ("slice", "volume", "patient"):
        assert logits[level].threshold is not None
        assert logits[level].values["brier"].value is not None
        assert probabilities[level].threshold is None
        assert probabilities[level].values["brier"].reason == PROBABILITIES
        assert logits[level].values["auc"] == probabilities[level].values["auc"]
    assert logits["slice"].threshold == 0
    warned = [note for note in said.notes if "lie between 0 and 1" in note]
    assert len(warned) == 1
    assert "slice, volume, breast, patient level" in warned[0]
    assert not [note for note in unsaid.notes if "lie between 0 and 1" in note]
    assert not [note for note in run(*tables).notes if "lie between 0 and 1" in note]
