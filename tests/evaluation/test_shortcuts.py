import numpy as np
import pytest

from dbtssl.evaluation.aggregation.apply import score_sets
from dbtssl.evaluation.aggregation.simple import Max, Mean
from dbtssl.evaluation.predictions.prediction_table import parse_predictions
from dbtssl.evaluation.protocol import STRICT
from dbtssl.evaluation.score import score_units
from dbtssl.evaluation.shortcuts import all_normal, shortcut_sets


def test_shortcuts_come_from_metadata_alone(make_table):
    """P000 has one volume in its study, the others two; a slice has its volume's score."""
    table = make_table(patients=4, positives=1)
    keep = [not (r["patient"] == "P000" and r["view"] == "lmlo") for r in table.to_pylist()]
    p = parse_predictions(table.filter(keep))
    sets = shortcut_sets(p, *score_sets(p, Mean(), Max()))
    slices, volumes, breasts, patients = sets["volumes in the study"]
    assert volumes.scores.tolist() == [-1, -2, -2, -2, -2, -2, -2]
    assert set(slices.scores[p.volume == 0]) == {-1}
    assert breasts.scores.tolist() == patients.scores.tolist() == [-1, -2, -2, -2]
    slices, volumes = sets["frames in the volume"][:2]
    assert volumes.scores.tolist() == p.n_slices.tolist()
    np.testing.assert_array_equal(slices.scores, p.n_slices[p.volume])


def test_depth_is_a_shortcut_of_slices_alone(make_table):
    p = parse_predictions(make_table(patients=4, positives=1))
    (slices,) = shortcut_sets(p, *score_sets(p, Mean(), Max()))["depth in the stack"]
    assert slices.level == "slice"
    depth = (p.z + 0.5) / p.n_slices[p.volume]
    order = np.argsort(slices.scores)
    assert abs(depth[order[-1]] - 0.43) == np.abs(depth - 0.43).min()
    assert abs(depth[order[0]] - 0.43) == np.abs(depth - 0.43).max()
    np.testing.assert_allclose(slices.scores, -np.abs(depth - 0.43))


def test_fewer_volumes_give_biopsied_studies_away(make_table, units):
    """As in BCS-DBT, where this alone reaches a volume AUC of 1.000 on SIFT-DBT's test split."""
    table = make_table(patients=8, positives=3)
    keep = [not (r["label"] >= 2 and r["view"] == "lmlo") for r in table.to_pylist()]
    p = parse_predictions(table.filter(keep))
    volumes = shortcut_sets(p, *score_sets(p, Mean(), Max()))["volumes in the study"][1]
    assert score_units(volumes, volumes, STRICT).values["auc"].value == 1


@pytest.mark.parametrize(
    ("n_pos", "n_neg", "npv"), [(39, 3736, 98.97), (320, 245875, 99.87), (320, 58980, 99.46)]
)
def test_all_normal_on_the_sets_of_sift_dbt(units, n_pos, n_neg, npv):
    abnormal = np.arange(n_pos + n_neg) < n_pos
    method = score_units(
        units(abnormal, abnormal, np.arange(n_pos + n_neg) // 300),
        units([1, 0], [1, 0]),
        STRICT,
    )
    row = all_normal(method)
    shown = {k: None if v.value is None else round(100 * v.value, 2) for k, v in row.values.items()}
    known = {
        "auc": 50,
        "ap": round(100 - npv, 2),
        "prevalence": round(100 - npv, 2),
        "npv": npv,
        "npv-gain": 0,
        "nr": 100,
        "ar": 0,
        "balanced-accuracy": 50,
        "recall-rate": 0,
    }
    assert {k: v for k, v in shown.items() if v is not None} == known
    assert (row.tp, row.fp, row.tn, row.fn) == (0, 0, n_neg, n_pos)
    assert all(v.low is None and v.reason for v in row.values.values())


def test_all_normal_on_one_class(units):
    method = score_units(units([0, 0], [1, 0]), units([1, 0], [1, 0]), STRICT)
    assert all(v.value is None and v.reason for v in all_normal(method).values.values())
