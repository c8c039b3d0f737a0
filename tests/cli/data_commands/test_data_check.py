from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from dbtssl.cli.data_commands.data_check import INCOMPLETE, SHOWN
from dbtssl.cli.main import main

COLLECTION = "Breast-Cancer-Screening-DBT"
VIEWS = ("lcc", "lmlo", "rcc")


def run(*words):
    return CliRunner().invoke(main, ["data", "check", *map(str, words)], env={"COLUMNS": "100"})


@pytest.fixture
def folder(tmp_path):
    """Three listed volumes: two in the classic layout, one as a REST folder."""
    rows = ["PatientID,StudyUID,View,descriptive_path,classic_path"]
    for i, view in enumerate(VIEWS):
        classic = f"{COLLECTION}/P1/1.2.3.4.1/1.2.3.4.2.{i}/1-1.dcm"
        rows.append(f"P1,S1,{view},,{classic}")
        file = tmp_path / (classic if i else f"1.2.3.4.2.{i}/000000.dcm")
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x")
    (tmp_path / "BCS-DBT-file-paths-test-v2.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def rows(output):
    lines = [line.strip(" │").split("│") for line in output.splitlines() if "│" in line]
    return {name.strip(): int(n) for name, n in lines}


def test_a_whole_tree(folder):
    result = run(folder)
    assert result.exit_code == 0
    assert rows(result.output) == {
        "listed": 3,
        "found": 3,
        "classic": 2,
        "rest": 1,
        "missing": 0,
        "ambiguous": 0,
        "extra files": 0,
    }


def test_missing_ambiguous_and_extra_ones_are_named(folder):
    (folder / "1.2.3.4.2.0" / "000000.dcm").unlink()
    twice = folder / "1.2.3.4.2.1" / "1-1.dcm"
    twice.parent.mkdir()
    twice.write_bytes(b"longer")
    (folder / "other.dcm").write_bytes(b"x")
    result = run(folder)
    assert result.exit_code == INCOMPLETE == 1
    found = rows(result.output)
    assert [found[name] for name in ("found", "missing", "ambiguous", "extra files")] == [
        1,
        1,
        1,
        1,
    ]
    assert "missing: P1/S1/lcc" in result.output
    assert "ambiguous: P1/S1/lmlo; files of 6, 1 bytes" in result.output
    assert f"extra: {folder / 'other.dcm'}" in result.output
    data = json.loads(run(folder, "--json").output)
    assert data["counts"] == {"listed": 3, "found": 1, "missing": 1, "ambiguous": 1, "extra": 1}
    assert data["layouts"] == {"classic": 1}
    states = {row["view"]: (row["state"], len(row["files"])) for row in data["volumes"]}
    assert states == {"lcc": ("missing", 0), "lmlo": ("ambiguous", 2), "rcc": ("found", 1)}
    assert data["extra"] == [str(folder / "other.dcm")]


def test_several_roots(folder, tmp_path):
    other = tmp_path / "disk2"
    (folder / COLLECTION).rename(other)
    tables = folder / "tables"
    tables.mkdir()
    (folder / "BCS-DBT-file-paths-test-v2.csv").rename(tables / "BCS-DBT-file-paths-test-v2.csv")
    assert run(tables, other).exit_code == INCOMPLETE
    assert run(tables, other, folder / "1.2.3.4.2.0").exit_code == 0


def test_a_long_list_is_cut(folder):
    for i in range(SHOWN + 5):
        (folder / f"{i}.dcm").write_bytes(b"x")
    result = run(folder)
    assert result.output.count("extra: ") == SHOWN + 1
    assert "extra: 5 more, see --json" in result.output


def test_labels_without_paths_are_listed_too(folder):
    (folder / "BCS-DBT-labels-train-v2.csv").write_text(
        "PatientID,StudyUID,View,Normal,Actionable,Benign,Cancer\nP7,S1,lcc,1,0,0,0\n"
    )
    assert "missing: P7/S1/lcc" in run(folder).output


def test_folders_that_cannot_be_used_are_refused(tmp_path):
    for root, message in ((tmp_path / "absent", "no such folder"), (tmp_path, "is empty")):
        result = run(root)
        assert result.exit_code == 2
        assert message in result.output
    (tmp_path / "a").write_text("")
    result = run(tmp_path)
    assert (result.exit_code, "no table of labels" in result.output) == (2, True)
    assert run().exit_code == 2
