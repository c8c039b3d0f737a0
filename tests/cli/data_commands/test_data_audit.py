from __future__ import annotations

import json
from pathlib import Path

import pytest

from dbtssl.cli.main import main
from dbtssl.phantom.model.phantom_config import PhantomConfig
from dbtssl.phantom.output.write_cohort import write_cohort


@pytest.fixture
def run(capsys):
    """Run ``dbtssl data audit``; its exit code, output and errors."""

    def call(*args):
        with pytest.raises(SystemExit) as left:
            main(["data", "audit", *map(str, args)], prog_name="dbtssl")
        out = capsys.readouterr()
        return left.value.code or 0, out.out, out.err

    return call


@pytest.fixture(scope="module")
def lists():
    folder = Path(__file__).parents[4] / "shared" / "data" / "bcs-dbt" / "sift_dbt_lists"
    if not folder.is_dir():
        pytest.skip("the real BCS-DBT files are not beside the repository")
    return folder


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom") / "p"
    write_cohort(PhantomConfig(patients=16, seed=3, rows=64, spacing=10), folder, 1)
    return folder


def test_the_real_lists(run, lists):
    counts = lists / "BCS-DBT_slice_cnt.json"
    code, out, _ = run(lists, "--split-from", lists, "--slice-counts", counts, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["title"].startswith("tables: test of sift-dbt split ")
    assert found["title"].endswith("Actionable: drop")
    aucs = {f["feature"]: f["auc"]["value"] for f in found["findings"]}
    assert aucs["volumes in the study"] == 1.0
    assert round(aucs["frames in the volume"], 2) == 0.68
    assert found["notes"] == []
    assert "Strongest: volumes in the study, AUC 1.000" in found["summary"]


TABLE = """\
PatientID,StudyUID,View,Normal,Actionable,Benign,Cancer
P1,S1,lcc,0,0,1,0
P2,S1,lcc,1,0,0,0
P3,S1,rcc,0,1,0,0
P4,S1,rcc,1,0,0,0
P5,S1,rcc,0,0,0,1
"""


@pytest.fixture
def tables(tmp_path):
    """Labels of five volumes, a volume without a label, and lists of them."""
    (tmp_path / "BCS-DBT-labels-train-v2.csv").write_text(TABLE)
    head = "PatientID,StudyUID,View\n"
    (tmp_path / "BCS-DBT-file-paths-train-v2.csv").write_text(f"{head}P6,S1,lcc\n")
    (tmp_path / "lists").mkdir()
    for part, patients in {"train": "P1 P2", "val": "P3", "test": "P4 P5"}.items():
        rows = "".join(f"{p},S1,{'lcc' if p < 'P3' else 'rcc'}\n" for p in patients.split())
        (tmp_path / "lists" / f"{part}_list.csv").write_text(head + rows)
    return tmp_path


@pytest.mark.parametrize(
    ("args", "title", "n_pos", "n_neg"),
    [
        ([], "all volumes, Actionable: drop", 2, 2),
        (["--actionable", "normal"], "all volumes, Actionable: normal", 2, 3),
        (["--actionable", "abnormal"], "all volumes, Actionable: abnormal", 3, 2),
        (["--split-from", "lists"], "test of sift-dbt split", 1, 1),
        (["--split-from", "lists", "--part", "train"], "train of sift-dbt split", 1, 1),
        (["--split-from", "lists", "--part", "all"], "all of sift-dbt split", 2, 2),
    ],
)
def test_what_is_scored(run, tables, monkeypatch, args, title, n_pos, n_neg):
    monkeypatch.chdir(tables)
    code, out, _ = run(".", "--json", *args)
    assert code == 0
    found = json.loads(out)
    assert title in found["title"]
    side = next(f for f in found["findings"] if f["feature"] == "side")
    assert (side["n_pos"], side["n_neg"]) == (n_pos, n_neg)
    if not args:
        assert found["notes"] == ["1 volumes have no label in any table and are left out"]


def test_a_phantom_gives_nothing_away(run, phantom, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    code, out, _ = run(phantom, "--source", "phantom", "--jobs", "1")
    assert code == 0
    assert out.startswith("PHANTOM, files: all volumes")
    assert "0 of 5 features exclude 0.5; by chance alone 1 in 20 would" in " ".join(out.split())
    assert "Gives the label away" not in out
    assert "A shortcut:" not in out


def test_no_pixels_leaves_the_background_out(run, phantom):
    _, out, _ = run(phantom, "--source", "phantom", "--jobs", "1", "--no-pixels", "--json")
    of = {f["feature"]: f["auc"] for f in json.loads(out)["findings"]}
    assert of["mean of the background"]["value"] is None
    assert "it needs the frames" in of["mean of the background"]["reason"]
    assert of["file size"]["value"] is not None


@pytest.mark.parametrize(
    ("args", "told", "hint"),
    [
        (["absent"], "no such folder: absent", "check the path"),
        ([".", "--part", "test"], "--part test needs lists", "--split-from"),
        ([".", "--split-from", "absent"], "no such folder: absent", "BCS-DBT_val_label_v2.csv"),
        ([".", "--source", "phantom"], "is not a phantom", "dbtssl phantom"),
        ([".", "--source", "phantom", "--set", "nothing=1"], "unknown key", ""),
        ([".", "--source", "nobody"], "nobody", ""),
        (["."], "no table of labels", "--source"),
    ],
)
def test_refusals(run, tmp_path, monkeypatch, args, told, hint):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*args)
    assert code == 2
    assert told in " ".join(err.split())
    assert hint in " ".join(err.split())
    assert "Traceback" not in err


def test_help_has_an_example(run):
    code, out, _ = run("--help")
    assert code == 0
    assert "Example: dbtssl data audit" in " ".join(out.split())
