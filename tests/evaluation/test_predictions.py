import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dbtssl.errors import DataError
from dbtssl.evaluation.prediction_schema import REQUIRED
from dbtssl.evaluation.predictions import parse_predictions, read_predictions
from dbtssl.evaluation.selection import without_actionable


def changed(table, column, row, value):
    rows = table.to_pylist()
    rows[row][column] = value
    return pa.Table.from_pylist(rows, schema=table.schema)


def test_slices_come_in_order_of_volume_and_z(make_table):
    table = make_table(patients=3, positives=1)
    order = np.random.default_rng(0).permutation(table.num_rows)
    p, q = parse_predictions(table), parse_predictions(table.take(order))
    assert p.volumes == tuple(sorted(set(table["volume"].to_pylist())))
    for v, volume in enumerate(p.volumes):
        rows = [r for r in table.to_pylist() if r["volume"] == volume]
        slices = slice(p.volume_offsets[v], p.volume_offsets[v + 1])
        assert p.z[slices].tolist() == [r["z"] for r in rows]
        assert p.abnormal[slices].tolist() == [r["abnormal"] for r in rows]
        assert p.patients[v] == rows[0]["patient"]
        assert p.labels[v] == rows[0]["label"]
        flat = p.logits[p.offsets[slices.start] : p.offsets[slices.stop]]
        assert flat.tolist() == [x for r in rows for x in r["logits"]]
    for name in ("labels", "n_slices", "volume", "z", "abnormal", "logits", "offsets"):
        np.testing.assert_array_equal(getattr(p, name), getattr(q, name))


def test_a_file_is_read(make_table, tmp_path):
    table = make_table(patients=2, positives=1)
    pq.write_table(table, tmp_path / "p.parquet")
    np.testing.assert_array_equal(
        read_predictions(tmp_path / "p.parquet").logits, parse_predictions(table).logits
    )


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"no predictions at .*gone\.parquet"):
        read_predictions(tmp_path / "gone.parquet")


def test_a_broken_file(tmp_path):
    (tmp_path / "p.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="is not a Parquet file"):
        read_predictions(tmp_path / "p.parquet")


@pytest.mark.parametrize("column", REQUIRED)
def test_a_missing_column(make_table, column):
    with pytest.raises(DataError, match=f"test: missing columns {column};"):
        parse_predictions(make_table(patients=2, positives=1).drop_columns([column]), "test")


def test_no_rows(make_table):
    with pytest.raises(DataError, match="no rows"):
        parse_predictions(make_table(patients=2, positives=1).slice(0, 0))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_logit_that_is_not_finite(make_table, value):
    table = changed(make_table(patients=2, positives=1), "logits", 3, [0.0, 1.0, value, 2.0])
    with pytest.raises(DataError, match=r"a logit is not finite \(volume P000_S_lcc, slice 3\)"):
        parse_predictions(table)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("z", 2, r"a slice is there twice \(volume P000_S_lcc, slice 2\)"),
        ("z", 99, "z lies outside"),
        ("z", -1, "z lies outside"),
        ("label", 4, "label is not 0, 1, 2 or 3"),
        ("label", 3, "label changes within a volume"),
        ("n_slices", 98, "n_slices changes within a volume"),
        ("patient", "P001", "patient changes within a volume"),
        ("study", "T", "study changes within a volume"),
        ("view", "rcc", "view changes within a volume"),
        ("volume", None, "column volume has empty cells"),
        ("logits", None, "column logits has empty cells"),
        ("logits", [0.0, None, 0.0, 0.0], "column logits holds empty values"),
        ("logits", [], "no logits"),
        ("y", [1, 2], "y and logits differ in length"),
    ],
)
def test_a_wrong_cell(make_table, column, value, message):
    table = changed(make_table(patients=2, positives=1), column, 3, value)
    with pytest.raises(DataError, match=message):
        parse_predictions(table)


def test_an_abnormal_slice_of_a_normal_volume(make_table):
    table = changed(make_table(patients=2, positives=1), "abnormal", -1, True)
    with pytest.raises(DataError, match="an abnormal slice in a volume that was not biopsied"):
        parse_predictions(table)


def test_a_column_of_the_wrong_type(make_table):
    table = make_table(patients=2, positives=1)
    words = pa.array(["one"] * table.num_rows)
    table = table.set_column(table.column_names.index("z"), "z", words)
    with pytest.raises(DataError, match="column z is string, expected int64"):
        parse_predictions(table)


def test_without_actionable(make_table):
    table = make_table(patients=6, positives=2, actionable=2)
    p = without_actionable(parse_predictions(table))
    kept = table.filter(pa.array([label != 1 for label in table["label"].to_pylist()]))
    expected = parse_predictions(kept)
    assert p.volumes == expected.volumes
    assert (p.patients, p.studies) == (expected.patients, expected.studies)
    for name in ("labels", "n_slices", "volume", "z", "abnormal", "logits", "offsets"):
        np.testing.assert_array_equal(getattr(p, name), getattr(expected, name))
    assert without_actionable(p) is p
