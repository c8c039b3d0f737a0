"""The main job through the command line: from DICOM files to the table, once for this file."""

from __future__ import annotations

import getpass
import io
import json
import platform
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dbtssl.benchmark.results.finished_run import open_run
from dbtssl.cli.main import main
from dbtssl.evaluation.values import Score
from dbtssl.report.table_model import PHANTOM

ROOT = Path(__file__).parents[2]
SMOKE = str(ROOT / "benchmarks" / "smoke.toml")
MINI_TREE = ROOT.parent / "shared" / "data" / "bcs-dbt" / "mini_tree"
FORMATS = ("table.txt", "table.md", "table.tex", "table.csv", "table.json")

pytestmark = pytest.mark.timeout(280)


def call(*args: str) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(a) for a in args], prog_name="dbtssl")
    return int(left.value.code or 0)


def stages(text: str) -> tuple[int, int]:
    made, found = re.search(r"(\d+) stages run, (\d+) found", text).groups()
    return int(made), int(found)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    assert call("benchmark", SMOKE, "--out", folder) == 0
    return folder


def rows(out: Path, name: str = "smoke") -> list[dict]:
    return json.loads((out / name / "table.json").read_text())["rows"]


def test_every_format_says_that_it_is_a_phantom(out):
    for name in FORMATS:
        assert PHANTOM in (out / "smoke" / name).read_text(), name


def test_methods_and_references_stand_at_both_levels(out):
    expected = [
        "random-init",
        "moco-v2",
        "sift-dbt",
        "volumes in the study",
        "frames in the volume",
        "all-normal",
    ]
    for level in ("slice", "volume"):
        found = [r["method"] for r in rows(out) if r["level"] == level and not r["subgroup"]]
        assert [m for m in found if m != "depth in the stack"] == expected
        assert ("depth in the stack" in found) is (level == "slice")


def test_the_report_is_made_beside_the_tables_and_fits(out):
    page = (out / "smoke" / "report.html").read_text()
    assert len(page) < 2_000_000
    assert "<strong>Phantom.</strong>" in page
    for part in ("roc", "patches", "scores", "looked", "training", "data", "provenance"):
        assert f'<section id="{part}">' in page
    assert page.count('class="slice"') >= 2
    assert str(out) not in page


def test_the_record_says_where_it_was_made_and_names_no_one(out):
    record = json.loads((out / "smoke" / "benchmark.json").read_text())
    found = record["environment"]
    assert {"dbtssl", "python", "torch", "numpy", "device", "cores", "machine"} <= set(found)
    text = json.dumps(found)
    for name in (platform.node(), getpass.getuser(), str(Path.home())):
        assert name not in text


def test_a_terminal_of_ascii_gets_its_table_and_the_report_is_written(out, monkeypatch):
    page, files = out / "smoke" / "report.html", [out / "smoke" / name for name in FORMATS]
    before = [path.read_bytes() for path in (page, *files)]
    page.unlink()
    screen, said = (io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", said)
    assert call("benchmark", SMOKE, "--out", out) == 0
    shown = screen.buffer.getvalue().decode("ascii")
    assert "dAUC" in shown
    assert "----+----" in shown
    assert [path.read_bytes() for path in (page, *files)] == before


def test_the_report_is_made_again_byte_for_byte(out, tmp_path, capsys):
    path = tmp_path / "again.html"
    assert call("report", out / "smoke", "--out", path) == 0
    assert path.read_bytes() == (out / "smoke" / "report.html").read_bytes()
    assert str(path) in capsys.readouterr().out


def test_the_table_can_be_asked_for_again(out, capsys):
    arguments = (
        "--where",
        "level=volume & kind=method",
        "--sort",
        "-auc",
        "--cols",
        "auc,delta-auc",
    )
    assert call("table", out / "smoke", *arguments, "--format", "markdown") == 0
    lines = [x for x in capsys.readouterr().out.splitlines() if x.startswith("| ")]
    assert lines[0] == "| method | AUC | ΔAUC |"
    shown = [line.split(" | ")[1].split()[0].strip("*†<ins>/") for line in lines[2:]]
    expected = [r["cells"]["auc"]["value"]["value"] for r in rows(out)
                if r["level"] == "volume" and r["kind"] == "method" and not r["subgroup"]]  # fmt: skip
    assert shown == [f"{100 * v:.1f}" for v in sorted(expected, reverse=True)]


def test_a_run_compared_with_itself_has_not_changed(out, capsys):
    assert call("compare", out / "smoke", out / "smoke", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["config"] == found["environment"] == found["data"] == found["moved"] == []
    assert {p["difference"]["difference"] for p in found["pairs"]} == {0.0}


def test_the_monitors_of_each_pretraining_stand_beside_the_table(out):
    plots = sorted(path.name for path in (out / "smoke" / "monitors").iterdir())
    assert plots == ["moco-v2-seed-0.png", "sift-dbt-seed-0.png"]
    for folder in (out / "store").glob("pretrain/*/*"):
        lines = (folder / "monitors.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in lines] == [0, 2]


def test_no_cell_is_nan(out):
    for name in FORMATS:
        assert not re.search(r"\b(nan|inf)\b", (out / "smoke" / name).read_text(), re.IGNORECASE)


def test_a_second_run_does_nothing_and_gives_the_same_bytes(out, capsys):
    before = {name: (out / "smoke" / name).read_bytes() for name in FORMATS}
    assert call("benchmark", SMOKE, "--out", out) == 0
    assert stages(capsys.readouterr().err) == (0, 13)
    assert {name: (out / "smoke" / name).read_bytes() for name in FORMATS} == before


def test_a_second_run_needs_no_torch(out):
    code = (
        "import sys\nfrom dbtssl.cli.main import main\n"
        f"try: main(['benchmark', {SMOKE!r}, '--out', {str(out)!r}])\n"
        "except SystemExit as left: assert not left.code\n"
        "print(sorted({'torch', 'timm', 'lightning_fabric', 'pydicom'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")


def test_the_plan_knows_what_is_done(out, capsys):
    assert call("benchmark", SMOKE, "--out", out, "--plan") == 0
    assert capsys.readouterr().out.rstrip().endswith("0 of 13 stages to run")


def test_another_number_of_patches_shares_the_training(out, capsys):
    assert call("benchmark", SMOKE, "--out", out, "--plan", "--set", "predict.patches=2") == 0
    printed = capsys.readouterr().out
    assert printed.rstrip().endswith("7 of 13 stages to run")
    to_run = {line.split()[0] for line in printed.splitlines() if re.search(r" run *$", line)}
    assert to_run - {"7"} == {"predict", "score", "compare"}


def test_other_settings_of_the_same_name_keep_the_first_table(out, capsys):
    before = {p.name: p.read_bytes() for p in (out / "smoke").iterdir() if p.is_file()}
    args = ("benchmark", SMOKE, "--out", out, "--set", "predict.patches=2")
    assert call(*args) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "holds a run of other settings and is left as it is: predict.patches 3 there, 2 here"
        in said
    )
    assert f"goes to {out / 'smoke-2'}" in said
    assert {p.name: p.read_bytes() for p in (out / "smoke").iterdir() if p.is_file()} == before
    assert open_run(out / "smoke-2").spec.predict.patches == 2
    assert call(*args) == 0
    assert stages(capsys.readouterr().err)[0] == 0
    assert not (out / "smoke-3").exists()
    assert call("benchmark", SMOKE, "--out", out) == 0  # the first is found where it was
    assert "other settings" not in capsys.readouterr().err


def test_the_page_of_fewer_rows_does_not_stay_beside_the_table_of_more(out, capsys):
    args = ("benchmark", SMOKE, "--out", out, "--set", "name=grows")
    assert call(*args, "--set", 'methods=["random-init"]') == 0
    assert "sift-dbt, seed 0" not in (out / "grows" / "report.html").read_text()
    methods = 'methods=["random-init", "sift-dbt"]'
    assert call(*args, "--set", methods) == 0
    assert "other settings" not in capsys.readouterr().err
    assert "sift-dbt, seed 0" in (out / "grows" / "report.html").read_text()
    assert [p.name for p in (out / "grows" / "monitors").iterdir()] == ["sift-dbt-seed-0.png"]
    assert not (out / "grows-2").exists()


@pytest.mark.usefixtures("out")  # the phantom is there
def test_the_plan_of_nothing_done_makes_nothing(tmp_path, capsys):
    assert call("benchmark", SMOKE, "--out", tmp_path / "runs", "--plan") == 0
    assert "13 of 13 stages to run" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


def test_kill_9_and_rerun_give_the_same_table(out, tmp_path):
    command = [sys.executable, "-m", "dbtssl", "benchmark", SMOKE, "--out", str(tmp_path)]
    command += ["--set", "pretrain.checkpoint_every=0"]  # at every step; no part of the result
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    work, limit = tmp_path / "store" / ".work", time.monotonic() + 120
    while not list(work.glob("pretrain-*/checkpoint.pt")):
        assert child.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < limit
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert not (tmp_path / "smoke").exists()
    assert call("benchmark", SMOKE, "--out", tmp_path) == 0
    for name in FORMATS:
        assert (tmp_path / "smoke" / name).read_bytes() == (out / "smoke" / name).read_bytes()


def test_the_plugin_of_the_contributing_page_becomes_a_row(out, tmp_path, capsys):
    page = (ROOT / "CONTRIBUTING.md").read_text()
    plugin = tmp_path / "any_slice.py"
    plugin.write_text(re.search(r"```python\n(.*?)```", page, re.DOTALL).group(1))
    lines = [x for x in plugin.read_text().splitlines() if x.strip()]
    assert len(lines) <= 20
    example = re.search(r"dbtssl --plugin any_slice\.py benchmark .*?(?=```)", page, re.DOTALL)
    words = shlex.split(example.group().replace("\\\n", " "))[1:]
    words[words.index("any_slice.py")] = str(plugin)
    words[words.index("benchmarks/smoke.toml")] = SMOKE
    assert call(*words, "--out", out, "--set", "name=with-plugin") == 0
    made, found = stages(capsys.readouterr().err)
    assert (made, found) == (5, 4)  # data and random-init were there
    found = [r for r in rows(out, "with-plugin") if r["level"] == "slice"]
    assert [r["method"] for r in found[:2]] == ["random-init", "any-slice"]
    assert len({r["finetuner"] for r in found[:2]}) == 1
    assert found[1]["unlike"] == {}  # the two differ in the method alone


def scores(out: Path, name: str) -> dict[str, Score]:
    record = json.loads((out / name / "benchmark.json").read_text())
    found = {}
    for row in record["rows"]:
        path = out / "store" / "score" / row["score"][:2] / row["score"] / "score.json"
        found[row["method"]] = Score.from_json(path.read_text())
    return found


def test_the_score_of_a_stored_prediction_is_the_benchmarks(out, capsys):
    """`dbtssl score` on the files in the store gives the rows of the table again."""
    record = json.loads((out / "smoke" / "benchmark.json").read_text())
    key = next(
        s["key"]
        for s in record["stages"]
        if (s["stage"], s["of"]) == ("predict", "moco-v2, seed 0")
    )
    folder = out / "store" / "predict" / key[:2] / key
    capsys.readouterr()
    assert call("score", folder / "test.parquet", "--val", folder / "val.parquet", "--json") == 0
    found = Score.from_json(capsys.readouterr().out)
    assert found == scores(out, "smoke")["moco-v2"]
    assert found.phantom
    assert [(x.level, x.patches) for x in found.patch_curve][-1] == ("volume", 3)
    assert (found.looked.n_volumes, found.looked.n_slices) == (3, 3)


def test_a_lattice_and_a_run_in_z_share_the_training(out, capsys):
    change = (
        "name=grid",
        "predict.inference=grid",
        "aggregate.slice=z-run",
        "aggregate.options.slice.window=5",
    )
    args = [word for x in change for word in ("--set", x)]
    assert call("benchmark", SMOKE, "--out", out, *args) == 0
    assert stages(capsys.readouterr().err) == (
        7,
        6,
    )  # predict and score of three rows, and their comparison
    found = scores(out, "grid")["random-init"]
    assert (found.inference, found.volume_aggregator, found.patch_curve) == ("grid", "ZRun", ())
    smoke = scores(out, "smoke")["random-init"]
    assert [r.evaluation_set for r in found.rows] == [r.evaluation_set for r in smoke.rows]
    assert found.rows[0].values["auc"] != smoke.rows[0].values["auc"]


def test_attention_learns_from_the_training_patients(out, capsys):
    change = (
        "name=attention",
        'methods=["moco-v2"]',
        "aggregate.slice=attention",
        "aggregate.options.slice.steps=10",
    )
    args = [word for x in change for word in ("--set", x)]
    assert call("benchmark", SMOKE, "--out", out, *args) == 0
    assert stages(capsys.readouterr().err) == (2, 3)
    key = json.loads((out / "attention" / "benchmark.json").read_text())["rows"][0]["score"]
    folder = out / "store" / "score" / key[:2] / key
    assert (folder / "aggregators.safetensors").is_file()
    predicted = json.loads((folder / "manifest.json").read_text())["parents"]["predict"]
    assert predicted
    slices = [r for r in scores(out, "attention")["moco-v2"].rows if r.level == "slice"]
    assert slices == [r for r in scores(out, "smoke")["moco-v2"].rows if r.level == "slice"]


def test_as_published_is_a_diagnostic_that_is_not_ranked(out):
    change = ("name=published", "protocol=as-published", 'methods=["random-init"]')
    args = [word for x in change for word in ("--set", x)]
    assert call("benchmark", SMOKE, "--out", out, *args) == 0
    for row in rows(out, "published"):
        assert {cell["rank"] for cell in row["cells"].values()} == {""}
    for score in scores(out, "published").values():
        assert score.inference == "oracle"
        assert all(r.diagnostic for r in score.rows)
        assert {r.threshold for r in score.rows if r.level == "slice" and r.kind == "method"} == {0}
    text = (out / "published" / "table.md").read_text()
    assert "DIAGNOSTIC, NEVER RANKED" in text
    assert "Fine-tuning as released: it sees 24.2 % of the normal training" in text
    assert text.count("Not as released: ") == 12
    assert "Not as released" not in (out / "smoke" / "table.md").read_text()
    tuned, ours = (
        open_run(out / x).record.rows[0].stages["finetune"] for x in ("published", "smoke")
    )
    assert tuned != ours
    ranked = {cell["rank"] for row in rows(out) for cell in row["cells"].values()}
    assert ranked == {"", "best", "second"}


def test_shares_of_the_labels_are_runs_of_their_own_that_share_pretraining(out, capsys):
    change = ("name=budgets", 'methods=["random-init", "moco-v2"]', "labels=[0.3, 1]")
    args = [word for x in change for word in ("--set", x)]
    assert call("benchmark", SMOKE, "--out", out, *args, "--plan") == 0
    assert "8 of 16 stages to run" in capsys.readouterr().out
    assert call("benchmark", SMOKE, "--out", out, *args) == 0
    printed = capsys.readouterr().err
    few, whole = re.findall(r"(\d+) stages run, (\d+) found", printed)
    assert few == ("7", "2")  # all but the data and the pretraining
    assert whole == ("1", "8")  # the smoke run has all but the comparison of two rows
    folder = out / "budgets"
    assert {p.name for p in folder.iterdir()} == {
        "labels-0.3", "labels-1", *(f"labels.{x}" for x in ("md", "csv", "json", "png", "svg")),
    }  # fmt: skip
    few, whole = (
        json.loads((folder / f"labels-{x}" / "benchmark.json").read_text()) for x in ("0.3", "1")
    )
    assert [r["stages"]["pretrain"] for r in few["rows"][1:]] == [
        r["stages"]["pretrain"] for r in whole["rows"][1:]
    ]
    assert whole["rows"] == json.loads((out / "smoke" / "benchmark.json").read_text())["rows"][:2]
    assert (few["labels"]["abnormal"], few["labels"]["train"]) == (3, [7, 7])
    assert call("table", folder / "labels-0.3", "--format", "markdown") == 0
    assert "30 % of the labels: 3 of 7 abnormal" in capsys.readouterr().out
    names = [open_run(folder / f"labels-{x}").name for x in ("0.3", "1")]
    assert names == ["budgets, 30 % of the labels", "budgets"]
    lines = json.loads((folder / "labels.json").read_text())["records"]
    assert {(r["labels"], r["method"]) for r in lines} == {
        (x, m) for x in (0.3, 1.0) for m in ("random-init", "moco-v2")
    }
    before = (folder / "labels.csv").read_bytes()
    (folder / "labels-0.3" / "benchmark.json").unlink()  # as if it had been cut off there
    assert call("benchmark", SMOKE, "--out", out, *args) == 0
    assert re.findall(r"(\d+) stages run", capsys.readouterr().err) == ["0", "0"]
    assert (folder / "labels.csv").read_bytes() == before


def test_one_slice_in_three_is_scored_and_shown_and_the_table_says_so(out, capsys):
    change = ("name=thirds", 'methods=["random-init"]', "predict.every=3")
    args = [word for x in change for word in ("--set", x)]
    assert call("benchmark", SMOKE, "--out", out, *args) == 0
    assert "2 stages run" in capsys.readouterr().err
    assert "One slice in 3 of each volume was scored" in (out / "thirds" / "table.md").read_text()
    whole, thirds = (open_run(out / name) for name in ("smoke", "thirds"))
    of_all, some = (run.units(run.record.rows[0]).predictions for run in (whole, thirds))
    assert set(some.volumes) == set(of_all.volumes)
    assert len(some.z) < len(of_all.z) / 2
    assert (out / "thirds" / "report.html").is_file()


@pytest.mark.skipif(not MINI_TREE.is_dir(), reason="real BCS-DBT files lie outside the project")
def test_a_real_folder_tree_runs_to_a_table_and_refuses_what_it_cannot_compute(tmp_path):
    settings = (
        "name=mini",
        "title=Mini tree",
        "backbone.args.base_channels=2",
        "pretrain.batch_size=8",
        "pretrain.slices_per_volume=4",
        "pretrain.epochs=1",
        "finetune.epochs=1",
        "predict.patches=1",
    )
    args = [word for x in settings for word in ("--set", x)]
    code = call("benchmark", SMOKE, "--data", f"bcs-dbt:{MINI_TREE}", "--out", tmp_path, *args)
    assert code == 0
    for name in FORMATS:
        text = (tmp_path / "mini" / name).read_text()
        assert PHANTOM not in text
        assert not re.search(r"\b(nan|inf)\b", text, re.IGNORECASE)
    for row in rows(tmp_path, "mini"):
        for metric, cell in row["cells"].items():
            if cell["value"]["low"] is None:
                assert cell["value"]["reason"], (row["method"], metric)
    dataset = json.loads(next((tmp_path / "store").glob("prepare/*/*/dataset.json")).read_text())
    assert dataset["source"] == "bcs-dbt"
