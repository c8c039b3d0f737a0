from __future__ import annotations

import csv
import re
from collections import Counter

import pytest

from dbtssl.data.records import Label
from dbtssl.data.tables.published_tables import (
    Key,
    find_tables,
    read_files,
    read_tables,
    table_files,
)
from dbtssl.errors import DataError

KEY = Key("P1", "S1", "lcc")


def edit(path, change):
    """Rewrite one table with ``change(rows)``."""
    with path.open(newline="") as f:
        rows = list(csv.reader(f))
    change(rows)
    with path.open("w", newline="") as f:
        csv.writer(f).writerows(rows)


def refused(root, match):
    with pytest.raises(DataError, match=match) as error:
        read_tables(root)
    return error.value


@pytest.fixture
def table(small_tree):
    def path(kind):
        return small_tree.root / f"BCS-DBT-{kind}-train-v2.csv"

    return path


def test_tables_are_read(small_tree):
    tables = read_tables(small_tree.root)
    assert tables.labels[KEY] is Label.CANCER
    assert Counter(tables.labels.values()) == {
        Label.CANCER: 2,
        Label.BENIGN: 1,
        Label.NORMAL: 2,
        Label.ACTIONABLE: 1,
    }
    (box,) = tables.boxes[KEY]
    assert (box.z, box.x, box.y, box.width, box.height, box.label, box.distortion) == (
        *(3, 20, 50, 16, 12),
        Label.CANCER,
        False,
    )
    assert tables.n_slices == {KEY: 6, Key("P1", "S1", "lmlo"): 6, Key("P2", "S1", "rcc"): 5}
    assert tables.paths[KEY].endswith("1.3.lcc/1-1.dcm")


@pytest.mark.parametrize(
    "name",
    [
        "BCS-DBT {kind}-{split}.csv",
        "BCS-DBT-{kind}-{split}-PHASE-2-Jan-2024.csv",
        "tables/{kind}_{split}.CSV",
    ],
)
@pytest.mark.parametrize("how", [{}, {"line_end": "\r\n"}, {"index": True}])
def test_old_names_line_ends_and_an_index_column_change_nothing(small_tree, tmp_path, name, how):
    expected = read_tables(small_tree.root)
    small_tree.root = tmp_path / "other"
    assert read_tables(small_tree.tables(name=name, **how)) == expected


def test_a_byte_order_mark_is_no_part_of_a_column(table, small_tree):
    path = table("labels")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert KEY in read_tables(small_tree.root).labels


def test_splits_are_put_together(small_tree, tmp_path):
    other = type(small_tree)(small_tree.root).add("P9", "lcc", "benign")
    other.tables("validation", "BCS-DBT-{kind}-{split}-v2-PHASE-2-Jan-2024.csv")
    tables = read_tables(small_tree.root)
    assert len(tables.labels) == 7
    assert Key("P9", "S1", "lcc") in tables.boxes


def test_whole_numbers_may_be_written_as_floats(small_tree):
    expected = read_tables(small_tree.root)
    for name in ("labels", "boxes"):
        path = small_tree.root / f"BCS-DBT-{name}-train-v2.csv"
        head, *rows = path.read_text().splitlines()
        floats = [re.sub(r"(?<=,)(\d+)(?=,|$)", r"\1.0", row) for row in rows]
        path.write_text("\n".join([head, *floats]))
    assert read_tables(small_tree.root) == expected


def test_tables_behind_a_link_are_found_and_a_loop_ends(small_tree, tmp_path):
    expected = read_tables(small_tree.root)
    (tmp_path / "tables").mkdir()
    for path in small_tree.root.glob("*.csv"):
        path.rename(tmp_path / "tables" / path.name)
    (small_tree.root / "tables").symlink_to("../tables", target_is_directory=True)
    (small_tree.root / "loop").symlink_to(".", target_is_directory=True)
    assert read_tables(small_tree.root) == expected


@pytest.mark.parametrize("place", ["._{}", ".ipynb_checkpoints/{}", "__MACOSX/._{}"])
def test_what_other_programs_leave_behind_is_no_table(small_tree, place):
    expected = read_tables(small_tree.root)
    left = small_tree.root / place.format("BCS-DBT-labels-train-v2.csv")
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"\0\x05\x16\x07\0\x02\0\0Mac OS X")
    assert read_tables(small_tree.root) == expected


def test_other_csv_files_are_left_alone(small_tree):
    (small_tree.root / "notes.csv").write_text("a,b\n")
    (small_tree.root / "BCS-DBT_boxes_v2.csv").write_text("a,b\n")
    (small_tree.root / "Breast-Cancer-Screening-DBT" / "BCS-DBT-labels-test.csv").write_text(
        "a,b\n"
    )
    assert [len(files) for files in find_tables(small_tree.root).values()] == [1, 1, 1]


@pytest.mark.parametrize("kind", ["labels", "boxes", "file-paths"])
def test_a_missing_table_is_named(small_tree, table, kind):
    table(kind).unlink()
    error = refused(
        small_tree.root, f"no table of {kind}; expected a file such as BCS-DBT-{kind}-train-v2.csv"
    )
    assert "cancerimagingarchive" in error.hint


def test_all_missing_tables_are_named_at_once(tmp_path):
    refused(tmp_path, "no table of labels and no table of boxes and no table of file-paths")


@pytest.mark.parametrize(
    ("kind", "column", "left"),
    [
        ("labels", "Cancer", "Normal"),
        ("boxes", "VolumeSlices", "Class"),
        ("file-paths", "classic_path", "descriptive_path"),
    ],
)
def test_missing_columns_are_named_with_what_was_found(small_tree, table, kind, column, left):
    def drop(rows):
        i = rows[0].index(column)
        for row in rows:
            del row[i]

    edit(table(kind), drop)
    error = refused(small_tree.root, f"missing columns {column}; found .*{left}")
    assert table(kind).name in error.message
    assert column in error.hint


def test_an_empty_table_has_no_columns(small_tree, table):
    table("labels").write_text("")
    refused(small_tree.root, "missing columns PatientID.*found none")


@pytest.mark.parametrize("flags", ["0 0 0 0", "1 0 0 1", "2 0 0 0", "1 0 0 -"])
def test_labels_must_be_one_hot(small_tree, table, flags):
    edit(table("labels"), lambda rows: rows[2].__setitem__(slice(3, 7), flags.split()))
    error = refused(small_tree.root, "expected one label of four")
    assert "line 3" in error.message


@pytest.mark.parametrize(("column", "value"), [(0, "../P1"), (1, "S1/x"), (0, ""), (1, "S 1")])
def test_ids_must_be_words(small_tree, table, column, value):
    """They become names of files."""
    edit(table("labels"), lambda rows: rows[1].__setitem__(column, value))
    refused(small_tree.root, "line 2: PatientID .* expected letters, digits")


def test_tables_may_lie_below_several_roots(small_tree, table, tmp_path):
    expected = read_tables(small_tree.root)
    other = tmp_path / "tables"
    other.mkdir()
    table("boxes").rename(other / table("boxes").name)
    assert read_tables(small_tree.root, other) == expected
    assert read_tables(other, small_tree.root, small_tree.root) == expected
    assert set(table_files(small_tree.root)) == {("labels", "train"), ("file-paths", "train")}


@pytest.mark.parametrize("kind", ["labels", "file-paths"])
def test_a_key_listed_twice_is_refused(small_tree, table, kind):
    edit(table(kind), lambda rows: rows.append(rows[1]))
    refused(small_tree.root, "line 8: volume P1/S1/lcc is listed twice")


def test_a_short_row_is_refused(small_tree, table):
    edit(table("labels"), lambda rows: rows[1].__delitem__(slice(5, None)))
    refused(small_tree.root, "line 2: 5 cells, the header has 7; there is none for Benign, Cancer")


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("PatientID", "P77", "a box on volume P77/S1/lcc, which no table of labels lists"),
        ("Slice", "3.5", "Slice '3.5', expected a whole number"),
        ("Slice", "-1", "Slice '-1', expected a whole number of at least 0"),
        ("X", "left", "X 'left', expected a number"),
        ("Width", "nan", "Width 'nan', expected a number"),
        ("Width", "0", "a box of 0 x 12 pixels"),
        ("Class", "mass", "Class 'mass', expected benign or cancer"),
        ("Class", "benign", "P1/S1/lcc: labelled cancer, but has a benign box"),
        ("View", "rcc", "a box on volume P1/S1/rcc"),
    ],
)
def test_a_wrong_value_in_a_box_is_refused(small_tree, table, column, value, match):
    edit(table("boxes"), lambda rows: rows[1].__setitem__(rows[0].index(column), value))
    refused(small_tree.root, match)


def test_boxes_of_a_volume_agree_on_its_slices(small_tree, table):
    edit(table("boxes"), lambda rows: rows.append([*rows[1][:4], "4", *rows[1][5:-1], "7"]))
    refused(small_tree.root, "line 5: VolumeSlices 7, an earlier row")


@pytest.mark.parametrize("change", [{}, {"Subject": "7"}, {"X": "20.0"}])
def test_a_box_that_is_there_twice_is_refused(small_tree, table, change):
    """As after joining two copies of the table: the lesion would be counted, and missed, twice."""

    def add(rows):
        rows.append([change.get(n, v) for n, v in zip(rows[0], rows[1], strict=True)])

    edit(table("boxes"), add)
    refused(small_tree.root, "line 5: this box of volume P1/S1/lcc is in an earlier row as well")


def test_two_boxes_on_one_slice_are_two(small_tree, table):
    edit(table("boxes"), lambda rows: rows.append([*rows[1][:5], "24", *rows[1][6:]]))
    assert [box.x for box in read_tables(small_tree.root).boxes[KEY]] == [20, 24]


def test_a_decimal_comma_makes_no_other_box(small_tree, table):
    edit(table("boxes"), lambda rows: rows[1].insert(6, "0"))
    refused(small_tree.root, "line 2: 1. cells, the header has 1.")


@pytest.mark.parametrize("ids", [("7", "S1", "07", "S1"), ("7", "2", "7", "2.0")])
def test_an_id_in_two_spellings_is_refused(tmp_path, ids):
    path = tmp_path / "labels.csv"
    head = "PatientID,StudyUID,View,Normal,Actionable,Benign,Cancer"
    path.write_text(f"{head}\n{ids[0]},{ids[1]},lcc,1,0,0,0\n{ids[2]},{ids[3]},rcc,1,0,0,0\n")
    with pytest.raises(DataError, match="are one number written in two ways"):
        read_files({"labels": [path], "boxes": [], "file-paths": []})


def test_an_abnormal_volume_needs_a_box(small_tree, table):
    edit(table("boxes"), lambda rows: rows.__delitem__(slice(2, None)))
    refused(
        small_tree.root,
        "2 volumes are labelled benign or cancer and have no box: P1/S1/lmlo, P2/S1/rcc",
    )


def test_a_normal_volume_has_no_box(small_tree, table):
    edit(table("labels"), lambda rows: rows[1].__setitem__(slice(3, 7), "1000"))
    refused(small_tree.root, "P1/S1/lcc: labelled normal, but has a cancer box")


def test_two_different_tables_of_one_kind_and_split_are_refused(small_tree, table):
    copy = small_tree.root / "BCS-DBT boxes-train.csv"
    copy.write_bytes(table("boxes").read_bytes().replace(b"\n", b"\r\n"))
    read_tables(small_tree.root)  # the same rows twice are no conflict
    copy.write_text(copy.read_text().replace("16", "17"))
    refused(small_tree.root, "two different tables of boxes for train")


def test_bytes_that_are_no_text_are_refused(small_tree, table):
    table("labels").write_bytes(b"PatientID\xff\xfe")
    refused(small_tree.root, "cannot be read as a table")


def test_published_tables(real):
    """Counts of the published training tables (Buda et al. 2021; the box table's own 77 architectural distortions)."""
    tables = read_tables(real / "sift_dbt_lists")
    assert Counter(tables.labels.values()) == {
        Label.NORMAL: 18_232,
        Label.ACTIONABLE: 716,
        Label.BENIGN: 124,
        Label.CANCER: 76,
    }
    boxes = [box for found in tables.boxes.values() for box in found]
    assert (len(tables.boxes), len(boxes), sum(box.distortion for box in boxes)) == (200, 224, 77)
    assert Counter(box.label for box in boxes) == {Label.BENIGN: 137, Label.CANCER: 87}
