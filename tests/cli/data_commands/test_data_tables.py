from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from dbtssl.cli.main import main

KEY = "PatientID,StudyUID,View"
LABELS = f"{KEY},Normal,Actionable,Benign,Cancer\nP1,S1,lcc,1,0,0,0\nP2,S1,rcc,0,0,0,1\nP2,S1,rmlo,0,1,0,0\n"
BOXES = f"{KEY},Slice,X,Y,Width,Height,Class,AD,VolumeSlices\nP2,S1,rcc,3,1,2,3,4,cancer,1,60\n"


def run(*words):
    return CliRunner().invoke(main, ["data", "tables", *map(str, words)], env={"COLUMNS": "100"})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "BCS-DBT labels-train.csv").write_text(LABELS)
    (tmp_path / "BCS-DBT boxes-train-v2.csv").write_text(BOXES)
    return tmp_path


def test_counts_stand_beside_the_published_ones(folder):
    result = run(folder)
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()]
    assert ["volumes", "3", "19,148"] in lines
    assert ["box", "volumes", "1", "200"] in lines
    assert "missing tables: file-paths of train, labels of validation" in result.output
    assert "train is not as published: patients 2 for 4,362," in result.output


def test_three_splits_fit_into_80_columns(folder):
    for split in ("validation", "test"):
        text = LABELS.replace("P1", f"{split}1").replace("P2", f"{split}2")
        (folder / f"labels {split}.csv").write_text(text)
        text = BOXES.replace("P2", f"{split}2")
        (folder / f"boxes {split}.csv").write_text(text)
    words = ["data", "tables", str(folder)]
    lines = CliRunner().invoke(main, words, env={"COLUMNS": "80"}).output.splitlines()
    assert lines[1].split() == [
        *("train", "published", "validation", "published", "test", "published")
    ]


def test_json(folder):
    data = json.loads(run(folder, "--json").output)
    (split,) = data["splits"]
    assert split["found"]["cancer"] == 1
    assert split["published"]["volumes"] == 19_148
    assert split["differences"]["volumes"] == {"found": 3, "published": 19_148}
    assert {"kind": "file-paths", "split": "train"} in data["missing"]
    assert (data["lists"], data["parts"], data["unlisted"]) == (None, [], None)
    assert {Path(row["file"]).name for row in data["files"]} == {
        *("BCS-DBT labels-train.csv", "BCS-DBT boxes-train-v2.csv")
    }


def test_lists_are_counted_with_and_without_actionable(folder):
    for part, row in (("train", 1), ("val", 2), ("test", 3)):
        lines = LABELS.splitlines()
        patient = lines[row].replace("P2", f"P{row}")
        (folder / f"BCS-DBT_{part}_label_v2.csv").write_text(f"{lines[0]}\n{patient}\n")
    text = run(folder, "--split-from", folder).output
    assert "by the lists of sift-dbt, with Actionable" in text
    assert "by the lists of sift-dbt, Actionable dropped" in text
    assert "1 labelled volumes are in no list" in text
    data = json.loads(run(folder, "--split-from", folder, "--json").output)
    test = {
        row["actionable_dropped"]: row["found"] for row in data["parts"] if row["split"] == "test"
    }
    assert (test[False]["volumes"], test[True]["volumes"]) == (1, 0)


def test_the_published_tables(real_lists):
    text = run(real_lists, "--split-from", real_lists / "csv").output
    rows = [line.split() for line in text.splitlines()]
    assert ["patients", "4,362", "4,362", "280", "280", "418", "418"] in rows
    assert ["volumes", "12,819", "12,819", "1,838", "1,838", "3,775", "3,775"] in rows
    assert "every count that the tables state and that was published is the same" in text


@pytest.fixture
def real_lists():
    folder = Path(__file__).parents[4] / "shared" / "data" / "bcs-dbt" / "sift_dbt_lists"
    if not folder.is_dir():
        pytest.skip("the real BCS-DBT files are not beside the repository")
    return folder


def test_rows_of_one_table_only_are_told(folder):
    paths = f"{KEY},classic_path\nP1,S1,lcc,a/b/c/1-1.dcm\nP9,S1,lcc,a/b/d/1-1.dcm\n"
    (folder / "BCS-DBT file-paths-train-v2.csv").write_text(paths)
    text = run(folder).output
    assert "1 volumes have a path and no label" in text
    assert "2 volumes have a label and no path" in text


def test_a_folder_without_tables_is_refused(tmp_path):
    result = run(tmp_path)
    assert result.exit_code == 2
    assert "no table of labels" in result.output
