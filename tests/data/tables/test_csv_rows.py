"""One strict reader for every table that somebody else wrote: what it takes, what it refuses, and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbtssl.data.download.series_index import patients_in
from dbtssl.data.sources.slice_folder import SliceFolder
from dbtssl.data.splits.split_lists import read_lists
from dbtssl.data.tables.csv_rows import csv_header, csv_rows, finite
from dbtssl.data.tables.density_table import read_density
from dbtssl.data.tables.published_tables import read_files
from dbtssl.errors import DataError
from dbtssl.evaluation.aggregation.volume_scores import read_labels, read_volume_scores
from dbtssl.evaluation.localisation.detection_files import read_detections
from dbtssl.evaluation.predictions.evaluation_sets import SUBSET, TEST_LIST, read_subset

KEY = "PatientID,StudyUID,View"
IDS = ("volume", "patient", "PatientID")
CLASSES = "Normal,Actionable,Benign,Cancer"


def rows(path, text, needed=("patient", "score"), **how):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [row for row, _ in csv_rows(path, needed, what="table", hint="the hint", **how)]


def refused(path, text, match, **how):
    with pytest.raises(DataError, match=match) as error:
        rows(path, text, **how)
    assert str(path) in error.value.message
    assert error.value.hint
    return error.value


@pytest.fixture
def path(tmp_path):
    return tmp_path / "t.csv"


TWO = [{"patient": "P1", "score": "1"}, {"patient": "P2", "score": "2"}]


@pytest.mark.parametrize(
    "text",
    [
        "patient,score\nP1,1\nP2,2\n",
        "patient,score\nP1,1\nP2,2",
        "patient,score\r\nP1,1\r\nP2,2\r\n",
        "patient,score\rP1,1\rP2,2\r",
        "\ufeffpatient,score\nP1,1\nP2,2\n",
        "\n patient ,score\t\n\nP1 , 1\n  \nP2,\t2\n\n",
        '"patient","score"\n"P1","1"\n"P2", "2" \n',
        ",patient,score\n0,P1,1\n1,P2,2\n",
        ",patient,score\n0.0,P1,1\n,P2,2\n",
        "patient,score,\nP1,1,\nP2,2,\n",
    ],
)
def test_what_changes_nothing(path, text):
    assert rows(path, text) == TWO


def test_a_text_may_hold_commas_and_quotation_marks(path):
    text = 'patient,score,note\nP1,1,"a 5"" lesion, left"\nP2,2,5" across\nP3,3,""\n'
    assert [row["note"] for row in rows(path, text)] == ['a 5" lesion, left', '5" across', ""]


def test_the_place_is_the_line_of_the_file(path):
    path.write_text("patient,score\n\nP1,1\n\n\nP2,2\n")
    places = [where for _, where in csv_rows(path, (), what="table", hint="")]
    assert places == [f"{path}, line 3", f"{path}, line 6"]


@pytest.mark.parametrize(
    ("line", "match"),
    [
        (
            "P9,0,5",
            "line 3: 3 cells, the header has 2; beyond its last column, score, there is '5'",
        ),
        ("P9,1,", "line 3: 3 cells, the header has 2"),
        ("P9", "line 3: 1 cells, the header has 2; there is none for score"),
        ("P9;0,5", None),
    ],
)
def test_another_number_of_cells_than_the_header(path, line, match):
    text = f"patient,score\nP1,1\n{line}\nP2,2\n"
    if match is None:  # as many cells as the header: the number is refused by whoever reads it
        assert finite(rows(path, text)[1]["score"]) == 5
        assert rows(path, text)[1]["patient"] == "P9;0"
    else:
        refused(path, text, match)


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        (('P1,1,"left', 'P2,2,"right'), "line 2, column note: a quotation mark begins the cell"),
        (('P1,1,"left', "P2,2,right"), "line 2, column note: a quotation mark begins the cell"),
        (('P1,1,"left', 'P2,2,"'), "line 2, column note: a quotation mark begins the cell"),
        (("P1,1,a", '"P2,2,"'), "line 3: 1 cells, the header has 3; there is none for score, note"),
        (('P1,1,"two', 'lines"'), "line 2, column note: a quotation mark begins the cell"),
        (("P1,1,a", 'P2,2,"5" across'), "line 3, column note: there is text behind the quotation"),
        (("P1,1,a", 'P2,2,b,"c'), "line 3, column 4: a quotation mark begins the cell"),
    ],
)
def test_a_quotation_mark_that_does_not_close_on_its_line(path, lines, match):
    refused(path, "\n".join(["patient,score,note", *lines, ""]), match)


def test_a_quotation_mark_in_the_header(path):
    refused(path, 'patient,"score\nP1,1\n', "line 1, column 2: a quotation mark begins the cell")


@pytest.mark.parametrize(
    "head",
    [
        "patient,score,score",
        "patient,score, score ",
        "patient,score,Score",
        '"score",score,patient',
    ],
)
def test_a_column_that_is_there_twice(path, head):
    refused(path, f"{head}\nP1,1,2\n", r"line 1: column \w+ is there twice, as column . and column")
    with pytest.raises(DataError, match="is there twice"):
        csv_header(path, what="table", hint="")


def test_columns_that_are_one_once_they_are_named(path):
    refused(path, "patient,SCORE,score\nP1,1,2\n", "is there twice", named=str.lower)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("patient,score,\nP1,1,5\n", "line 2: column 3 has no name and holds '5'"),
        (",patient,score\nx,P1,1\n", "line 2: column 1 has no name and holds 'x'"),
        (",patient,,score\n0,P1,7,1\n", "line 2: column 3 has no name and holds '7'"),
    ],
)
def test_a_column_without_a_name_holds_row_numbers_or_nothing(path, text, match):
    refused(path, text, match)


def test_a_second_header(path):
    refused(
        path, "patient,score\nP1,1\npatient,score\nP2,2\n", "line 3: the header stands here once"
    )


@pytest.mark.parametrize(
    "character",
    [
        "\u200b",
        "\ufeff",
        "\u00a0",
        "\u00ad",
        "\u2028",
        "\x0b",
        "\x00",
        "\x1f",
        "\u3164",
        "\ufe0f",
        "\u202e",
    ],
)
@pytest.mark.parametrize("column", ["patient", "Volume", "study", "PatientID", "StudyUID"])
@pytest.mark.parametrize("form", ["{}P1", "P{}1", "P1{}"])
def test_an_id_holds_nothing_that_cannot_be_seen(path, character, column, form):
    text = f"{column},score\n{form.format(character)},1\n"
    error = refused(
        path, text, f"line 2, column {column}: the id holds the invisible character U\\+", needed=()
    )
    assert f"U+{ord(character):04X}" in error.message
    assert "P1" not in error.message.replace(str(path), "")


def test_other_columns_may_hold_any_text(path):
    assert rows(path, "patient,note\nP1,a\u00a0b\n", needed=())[0]["note"] == "a\u00a0b"


def test_an_id_holds_no_quotation_mark(path):
    refused(path, 'patient,score\nP"1,1\n', "line 2, column patient: the id holds a quotation mark")


def test_the_name_of_a_column_holds_nothing_that_cannot_be_seen(path):
    refused(path, "patient,sc\u200bore\nP1,1\n", "line 1: the name of column 2 holds .* U\\+200B")


@pytest.mark.parametrize(("sign", "word"), [(";", "semicolons"), ("\t", "tabs")])
def test_another_separator_is_named(path, sign, word):
    error = refused(path, f"patient{sign}score\nP1{sign}1\n", "missing columns patient, score")
    assert word in error.hint


def test_missing_columns_and_files(path, tmp_path):
    assert refused(path, "patient\n", "missing columns score; found patient").hint == "the hint"
    refused(path, "", "missing columns patient, score; found none")
    with pytest.raises(DataError, match="no such file"):
        list(csv_rows(tmp_path / "gone.csv", (), what="table", hint=""))
    with pytest.raises(DataError, match="cannot be read as a table: Is a directory"):
        list(csv_rows(tmp_path, (), what="table", hint=""))


@pytest.mark.parametrize(
    "text", [b"patient,score\nP1,1\nP\xe4,2\n", "patient,score\n".encode("utf-16")]
)
def test_what_is_not_utf_8(path, text):
    line = 3 if text.startswith(b"patient") else 1
    error = refused(path, text, f"cannot be read as a table: line {line} is not UTF-8 text")
    assert "UTF-8" in error.hint


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("-0.5", -0.5), ("+2.", 2), (".5", 0.5), ("1e-3", 0.001), ("007", 7), ("1E+2", 100)],
)
def test_numbers(text, value):
    assert finite(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "1,5", "1_000", "nan", "inf", "-Infinity", "1e999", "0x1f", "\u0661", "1 000", "\u200b1"],
)
def test_what_is_no_number(text):
    assert finite(text) is None


def _tables(kind):
    def read(path):
        return read_files({"labels": [], "boxes": [], "file-paths": [], kind: [path]})

    return read


def _lists(path):
    folder = path.parent
    for part in ("train", "test"):
        (folder / f"BCS-DBT_{part}_label_v2.csv").write_text(f"{KEY}\nP-{part},S,lcc\n")
    path.rename(folder / "BCS-DBT_val_label_v2.csv")
    return read_lists(folder).listed


def _subset(path):
    path.rename(path.with_name(TEST_LIST))
    path.with_name(SUBSET).write_text("[[0, 1], [0, 0]]")
    return read_subset(path.parent)


def _folder(path):
    (path.parent / "a.png").touch()
    (path.parent / "b.png").touch()
    return SliceFolder().volumes(path.parent)


READERS = {  # every reader of a stranger's table: a header and two rows that it takes
    "scores": (read_volume_scores, "volume,patient,label,score", "v1,P1,0,0.5", "v2,P2,1,1.5"),
    "labels of volumes": (read_labels, "volume,label,note", "v1,0,a", "v2,1,b"),
    "published labels for scores": (
        read_labels,
        f"{KEY},{CLASSES}",
        "P1,S,lcc,1,0,0,0",
        "P2,S,lcc,0,0,0,1",
    ),
    "detections": (
        *(read_detections, f"{KEY},X,Width,Y,Height,Z,Depth,Score"),
        *("P1,S,lcc,1,2,3,4,5,6,0.5", "P2,S,lcc,1,2,3,4,5,6,0.5"),
    ),
    "labels": (_tables("labels"), f"{KEY},{CLASSES}", "P1,S,lcc,1,0,0,0", "P2,S,lcc,0,0,0,1"),
    "boxes": (
        *(_tables("boxes"), f"{KEY},Slice,X,Y,Width,Height,Class,AD,VolumeSlices"),
        *("P1,S,lcc,1,2,3,4,5,cancer,0,9", "P2,S,lcc,1,2,3,4,5,cancer,0,9"),
    ),
    "file paths": (_tables("file-paths"), f"{KEY},classic_path", "P1,S,lcc,a", "P2,S,lcc,b"),
    "densities": (read_density, "PatientID,StudyUID,Breast,density", "P1,S,l,0.5", "P2,S,l,1.5"),
    "lists of a split": (_lists, KEY, "P1,S,lcc", "P2,S,lcc"),
    "SIFT-DBT's subset": (_subset, KEY, "P1,S,lcc", "P2,S,lcc"),
    "patients to fetch": (patients_in, "PatientID,note", "P1,a", "P2,b"),
    "slices": (
        *(_folder, "file,patient,study,side,projection,slice,label"),
        *("a.png,P1,S,l,cc,0,normal", "b.png,P2,S,l,cc,0,normal"),
    ),
}


@pytest.fixture(params=READERS)
def reader(request, tmp_path):
    read, head, *lines = READERS[request.param]

    def call(head=head, lines=lines):
        path = tmp_path / "t.csv"
        path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
        return read(path)

    return call, head, lines


def test_every_reader_takes_its_table(reader):
    call, head, lines = reader
    id_ = next(name for name in head.split(",") if name in IDS)
    found = repr(call())
    assert all(line.split(",")[head.split(",").index(id_)] in found for line in lines)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda line: f"{line},5", "line 3: . cells|line 3: 1. cells"),
        (lambda line: line.rpartition(",")[0], "line 3: . cells|line 3: 1. cells"),
        (
            lambda line: ",".join([*line.split(",")[:-1], '"x']),
            "line 3, column .* a quotation mark",
        ),
    ],
)
def test_every_reader_refuses_a_line_that_is_not_one_row(reader, change, match):
    call, _, lines = reader
    with pytest.raises(DataError, match=match):
        call(lines=[lines[0], change(lines[1])])


def test_every_reader_refuses_a_cell_that_swallows_rows(reader):
    call, head, lines = reader
    more = [f'{line},"x' for line in lines]
    with pytest.raises(DataError, match="line 2, column more: a quotation mark begins the cell"):
        call(f"{head},more", more)


def test_every_reader_refuses_a_column_that_is_there_twice(reader):
    call, head, lines = reader
    for name in head.split(","):
        with pytest.raises(DataError, match=f"column {name} is there twice"):
            call(f"{head}, {name}", [f"{line},1" for line in lines])


def test_every_reader_refuses_an_id_that_cannot_be_seen(reader):
    call, head, lines = reader
    id_ = next(name for name in head.split(",") if name in IDS)
    cells = lines[1].split(",")
    cells[head.split(",").index(id_)] += "\u200b"
    with pytest.raises(DataError, match=f"line 3, column {id_}: the id holds .* U\\+200B"):
        call(lines=[lines[0], ",".join(cells)])


def test_no_reader_is_left_out():
    """Whoever calls the one reader is among the readers above, or reads what this project wrote."""
    own = {"preparation_state"}
    core = Path(__file__).parents[3] / "dbtssl"
    callers = {p.stem for p in core.rglob("*.py") if "csv_rows(" in p.read_text(encoding="utf-8")}
    assert callers - own == {
        "csv_rows",
        "density_table",
        "detection_files",
        "series_index",
        "evaluation_sets",
        "slice_folder",
        "split_lists",
        "published_tables",
        "volume_scores",
    }
