import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dbtssl.data.records import Label
from dbtssl.evaluation.aggregation.apply import score_sets
from dbtssl.evaluation.aggregation.simple import Max, Mean
from dbtssl.evaluation.predictions.prediction_table import parse_predictions
from dbtssl.evaluation.predictions.selection import strata
from dbtssl.evaluation.protocol import STRICT
from dbtssl.evaluation.score import score


@pytest.fixture
def tables(make_table):
    test = make_table(patients=70, positives=24, prefix="T", slices=4, patches=2)
    return test, make_table(patients=14, positives=5, prefix="V", seed=1, slices=4, patches=2)


def test_subgroups_of_volumes_are_counted_by_hand(tables):
    result = score(*tables, STRICT, Mean(), Max())
    rows = {r.subgroup: r for r in result.rows if r.level == "volume" and r.subgroup}
    # 24 patients, every second one cancer, two volumes each; 46 normal patients
    assert {name: (r.n_pos, r.n_neg) for name, r in rows.items()} == {
        "finding: benign": (24, 92),
        "finding: cancer": (24, 92),
        "projection: CC": (24, 46),
        "projection: MLO": (24, 46),
    }
    p = parse_predictions(tables[0])
    volumes = score_sets(p, Mean(), Max())[1]
    keep = p.labels != Label.BENIGN
    assert rows["finding: cancer"].values["auc"].value == pytest.approx(
        roc_auc_score(volumes.abnormal[keep], volumes.scores[keep])
    )
    whole = next(r for r in result.rows if r.level == "volume" and r.kind == "method")
    assert {r.threshold for r in rows.values()} == {whole.threshold}
    assert len({r.evaluation_set for r in (whole, *rows.values())}) == 5


def test_nothing_under_ten_is_shown(make_table, tables):
    few = make_table(patients=40, positives=9, prefix="T", slices=4, patches=2)
    names = {
        r.subgroup for r in score(few, tables[1], STRICT, Mean(), Max()).rows if r.level == "volume"
    }
    # ten volumes are benign, eight cancer, nine of each projection abnormal
    assert names == {"", "finding: benign"}


def test_lesions_and_density_come_from_the_file(tables):
    rows = tables[0].to_pylist()
    import pyarrow as pa

    schema = tables[0].schema
    for name in ("boxes", "density"):
        schema = schema.append(pa.field(name, pa.string() if name == "density" else BOXES))
    for i, row in enumerate(rows):
        abnormal = row["label"] >= 2 and row["z"] == 0
        distorted = row["patient"] < "T012"
        side = {"x": 1.0, "y": 1.0, "width": 2.0, "height": 2.0}
        row["boxes"] = (
            [{**side, "label": row["label"], "distortion": distorted}] if abnormal else []
        )
        row["density"] = "a" if row["patient"] < "T040" else None
        rows[i] = row
    p = parse_predictions(pa.Table.from_pylist(rows, schema=schema))
    found = strata(p)
    abnormal = p.labels >= 2
    assert (found["lesion: distortion"] & abnormal).sum() == 24
    assert (found["lesion: mass"] & abnormal).sum() == 24
    assert not (found["lesion: mass"] & found["lesion: distortion"] & abnormal).any()
    assert found["density: a"].sum() == 80
    assert np.array_equal(found["lesion: mass"] & ~abnormal, ~abnormal)


def _boxes():
    from dbtssl.evaluation.predictions.prediction_table import TYPES

    return TYPES["boxes"]


BOXES = _boxes()
