from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from dbtssl.data.records import Box, Label, Volume, abnormal_slices
from dbtssl.errors import DataError
from dbtssl.evaluation.predictions.prediction_table import parse_predictions
from dbtssl.evaluation.predictions.selection import (
    only,
    with_first_patches,
    with_labels,
    with_lesion_window,
)


def test_only_is_the_table_of_those_volumes(make_table):
    table = make_table(patients=5, positives=2)
    p = parse_predictions(table)
    p = replace(p, features=np.arange(2 * len(p.logits), dtype=np.float32).reshape(-1, 2))
    keep = np.array([i % 3 != 1 for i in range(len(p.volumes))])
    names = {v for v, k in zip(p.volumes, keep, strict=True) if k}
    part = only(p, keep)
    expected = parse_predictions(table.filter([v in names for v in table["volume"].to_pylist()]))
    for name in ("volumes", "patients", "studies", "views", "density", "boxes"):
        assert getattr(part, name) == getattr(expected, name)
    for name in (
        "labels",
        "n_slices",
        "shape",
        "volume",
        "z",
        "abnormal",
        "logits",
        "offsets",
        "places",
    ):
        np.testing.assert_array_equal(getattr(part, name), getattr(expected, name))
    rows = np.isin(p.volume, np.flatnonzero(keep)).repeat(np.diff(p.offsets))
    np.testing.assert_array_equal(part.features, p.features[rows])
    assert only(p, np.ones(len(p.volumes), dtype=bool)) is p


@pytest.mark.parametrize("window", [(4, 4), (4, 3), (0, 0)])
def test_the_protocols_window_labels_the_slices_of_the_boxes(make_table, window):
    p = parse_predictions(make_table(patients=3, positives=2))
    boxes = tuple(
        (Box(2, 1, 1, 2, 2, Label.CANCER), Box(9, 1, 1, 2, 2, Label.CANCER)) if label >= 2 else ()
        for label in p.labels
    )
    found = with_lesion_window(replace(p, boxes=boxes), *window)
    for v, own in enumerate(boxes):
        volume = Volume("p", "s", "lcc", int(p.n_slices[v]), 9, 9, Label(p.labels[v]), own)
        np.testing.assert_array_equal(
            found.abnormal[p.volume == v], abnormal_slices(volume, *window)
        )


def test_a_file_without_all_boxes_keeps_its_own_labels(make_table):
    p = parse_predictions(make_table(patients=3, positives=2))
    assert with_lesion_window(p, 0, 0) is p


def test_labels_from_elsewhere(make_table):
    table = make_table(patients=2, positives=0)
    labels = {"P000_S_lcc": "cancer", "P000_S_lmlo": "benign"}
    labels |= {"P001_S_lcc": "normal", "P001_S_lmlo": "actionable"}
    for given in (table, table.drop_columns(["label"])):
        assert parse_predictions(with_labels(given, labels, "t")).labels.tolist() == [3, 2, 0, 1]
    with pytest.raises(DataError, match="volume P001_S_lmlo has the label 'abnormal'"):
        with_labels(table, labels | {"P001_S_lmlo": "abnormal"}, "t")
    with pytest.raises(DataError, match="volume P000_S_lcc has the label 'none'"):
        with_labels(table, {}, "t")
    with pytest.raises(DataError, match="missing columns volume"):
        parse_predictions(with_labels(table.drop_columns(["volume"]), labels, "t"))


def test_a_normal_label_for_a_volume_with_abnormal_slices(make_table):
    table = make_table(patients=1, positives=1)
    labels = dict.fromkeys(("P000_S_lcc", "P000_S_lmlo"), "normal")
    with pytest.raises(DataError, match="an abnormal slice in a volume that was not biopsied"):
        parse_predictions(with_labels(table, labels, "t"))


def test_the_type_of_labels_is_that_of_the_file(make_table):
    table = with_labels(
        make_table(patients=1, positives=1), {"P000_S_lcc": "benign", "P000_S_lmlo": "benign"}, "t"
    )
    assert table.schema.field("label").type == pa.int8()


def test_the_first_patches_are_the_table_cut_short(make_table):
    table = make_table(patients=3, positives=1, patches=4)
    p = parse_predictions(table)
    p = replace(p, features=np.arange(2 * len(p.logits), dtype=np.float32).reshape(-1, 2))
    rows = [r | {k: r[k][:2] for k in ("logits", "y", "x")} for r in table.to_pylist()]
    expected = parse_predictions(pa.Table.from_pylist(rows, schema=table.schema))
    cut = with_first_patches(p, 2)
    for name in ("logits", "offsets", "places"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(expected, name))
    np.testing.assert_array_equal(cut.features, p.features.reshape(-1, 4, 2)[:, :2].reshape(-1, 2))
    of_slices = replace(p, features=np.ones((len(p.z), 2), dtype=np.float32))
    assert with_first_patches(of_slices, 2).features is of_slices.features
