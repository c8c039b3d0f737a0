import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dbtssl.data.records import Box, Label
from dbtssl.errors import DataError
from dbtssl.evaluation.aggregation.simple import Max, Mean
from dbtssl.evaluation.predictions.prediction_table import (
    REQUIRED,
    TYPES,
    PredictionInfo,
    parse_predictions,
    read_predictions,
)
from dbtssl.evaluation.predictions.selection import without_actionable
from dbtssl.evaluation.protocol import STRICT
from dbtssl.evaluation.score import score


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


def replaced(table, column, change, kind=None):
    values = pa.array([change(v) for v in table[column].to_pylist()], type=kind)
    return table.set_column(table.column_names.index(column), column, values)


@pytest.mark.parametrize(
    ("column", "change", "message"),
    [
        ("patient", lambda v: v + "\u200b", r"column patient: id .* invisible character U\+200B"),
        ("volume", lambda v: "\xa0" + v, r"column volume: id .* invisible character U\+00A0"),
        ("study", lambda v: v + "\n", r"column study: id .* invisible character U\+000A"),
        ("patient", lambda v: " ", "column patient: an id is empty"),
        (
            "patient",
            lambda v: {"P000": "7", "P001": "07"}[v],
            "patients '7' and '07' are one number",
        ),
    ],
)
def test_an_id_that_is_not_what_it_seems(make_table, column, change, message):
    with pytest.raises(DataError, match=message):
        parse_predictions(replaced(make_table(patients=2, positives=1), column, change))


def test_ids_may_be_whole_numbers_and_not_floats(make_table):
    table = make_table(patients=2, positives=1)
    number = replaced(table, "patient", lambda v: int(v[1:]), pa.int64())
    assert parse_predictions(number).patients == ("0", "0", "1", "1")
    with pytest.raises(DataError, match="column patient is double, expected text or whole numbers"):
        parse_predictions(replaced(table, "patient", lambda v: float(v[1:]), pa.float64()))


def test_integer_logits_that_no_float_holds(make_table):
    table = make_table(patients=2, positives=1)
    big = replaced(table, "logits", lambda v: [2**53 + 1] * len(v), pa.list_(pa.int64()))
    with pytest.raises(DataError, match="column logits is list"):
        parse_predictions(big)


def test_a_column_that_is_there_twice(make_table):
    table = make_table(patients=2, positives=1)
    with pytest.raises(DataError, match="column logits is there twice"):
        parse_predictions(table.append_column("logits", table["logits"]))


def test_a_box_that_is_there_twice(make_table):
    table = make_table(patients=2, positives=1)
    box = {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0, "label": 2, "distortion": False}
    rows = [
        [box | {"label": 2 + label % 2}] * (z == 0)
        for z, label in zip(table["z"].to_pylist(), table["label"].to_pylist(), strict=True)
    ]
    rows = [
        boxes if label >= 2 else []
        for boxes, label in zip(rows, table["label"].to_pylist(), strict=True)
    ]
    once = table.append_column("boxes", pa.array(rows, TYPES["boxes"]))
    assert {len(b) for b in parse_predictions(once).boxes} == {0, 1}
    twice = table.append_column("boxes", pa.array([b * 2 for b in rows], TYPES["boxes"]))
    with pytest.raises(DataError, match="a box is there twice"):
        parse_predictions(twice)


@pytest.mark.parametrize("column", ["patient", "volume"])
def test_what_is_in_both_splits_in_another_spelling(make_table, column):
    test, val = make_table(patients=6, positives=3), make_table(6, 3, prefix="V")
    shared = {"patient": ("P001", "p1"), "volume": ("P001_S_lcc", "p01_s_lcc")}[column]
    val = replaced(val, column, lambda v: shared[1] if v == shared[0].replace("P", "V") else v)
    with pytest.raises(DataError, match=f"1 {column}s are in the validation and the test split"):
        score(test, val, STRICT, Mean(), Max())


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


def test_a_file_of_another_system_needs_few_columns(make_table):
    """One logit a slice, no study, view or place."""
    full = make_table(patients=4, positives=2, patches=1)
    p = parse_predictions(full.select(list(REQUIRED)).replace_schema_metadata(None))
    assert p.volumes == parse_predictions(full).volumes
    assert set(p.studies + p.views + p.density) == {""}
    assert p.places is p.features is None
    assert (p.shape == 0).all()
    assert p.boxes == ((),) * 8
    assert p.made == PredictionInfo()
    result = score(p, None, STRICT, Mean(), Max())
    assert {r.level for r in result.rows} == {"slice", "volume", "patient"}
    assert "volumes in the study" not in {r.name for r in result.rows}
    assert result.notes == (
        "No breast level: the file does not say study and view.",
        "Slices of the test split are labelled as the file has them, not by the protocol's lesion window: an abnormal "
        "volume has no box.",
    )


GOOD = {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0, "label": 3, "distortion": False}


def with_boxes(table, row, cells):
    boxes = [[] for _ in range(table.num_rows)]
    boxes[row] = cells
    return table.append_column("boxes", pa.array(boxes, type=TYPES["boxes"]))


def test_boxes_stand_on_their_slice(make_table):
    table = with_boxes(make_table(patients=2, positives=1), 3, [GOOD, GOOD | {"label": 2}])
    p = parse_predictions(table)
    assert p.boxes[0] == (
        Box(3, 1.0, 2.0, 3.0, 4.0, Label.CANCER),
        Box(3, 1.0, 2.0, 3.0, 4.0, Label.BENIGN),
    )
    assert not any(p.boxes[1:])


@pytest.mark.parametrize(
    "change",
    [
        {"width": 0.0},
        {"height": float("nan")},
        {"x": None},
        {"y": float("inf")},
        {"label": 0},
        {"distortion": None},
    ],
)
def test_what_is_not_a_box(make_table, change):
    table = with_boxes(make_table(patients=2, positives=1), 3, [GOOD | change])
    with pytest.raises(DataError, match=r"not a box: .*volume P000_S_lcc, slice 3"):
        parse_predictions(table)


def test_a_box_in_a_normal_volume(make_table):
    table = make_table(patients=2, positives=1)
    with pytest.raises(DataError, match="a box in a volume that was not biopsied"):
        parse_predictions(with_boxes(table, table.num_rows - 1, [GOOD]))


@pytest.mark.parametrize(("length", "said"), [(3, "2"), (4, "3"), (2, None)])
def test_features_of_another_length(make_table, length, said):
    table = make_table(patients=2, positives=1, patches=1)
    cells = [np.zeros(length, dtype=np.float16)] * table.num_rows
    table = table.append_column("features", pa.array(cells, type=pa.large_list(pa.float16())))
    table = table.replace_schema_metadata({"n_features": said} if said else None)
    with pytest.raises(DataError, match="column features does not hold n_features"):
        parse_predictions(table)


def test_a_feature_that_is_not_finite(make_table):
    table = make_table(patients=2, positives=1)
    cells = [np.array([1, np.inf], dtype=np.float16)] * table.num_rows
    table = table.append_column("features", pa.array(cells, type=pa.large_list(pa.float16())))
    with pytest.raises(DataError, match="a feature is not finite"):
        parse_predictions(table.replace_schema_metadata({"n_features": "2"}))
