"""The guard against stale results: the code behind a stage may not change while its version stays."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dbtssl
from dbtssl.testing.stage_code import KINDS, STOPS, StageCode, differences, read, stage_code, write

FILE = Path(__file__).parents[1] / "benchmark" / "stage_code.toml"
PACKAGE = Path(dbtssl.__file__).parent


@pytest.fixture(scope="module")
def now():
    return stage_code()


def test_the_code_behind_every_stage_is_as_recorded(now):
    assert differences(read(FILE), now) == []


def test_every_stage_is_known_with_the_kinds_of_components_that_it_runs(now):
    assert set(now) == set(KINDS)
    assert all(importlib.util.find_spec(name) for name in STOPS)


@pytest.mark.parametrize(
    ("stage", "modules"),
    [
        (
            "pretrain",
            {
                "training.pretraining.loop",
                "nn.teacher",
                "views.crops",
                "data.prepared.prepared_dataset",
            },
        ),
        ("finetune", {"training.finetuning.finetune", "nn.classifier", "patches.patch_rule"}),
        ("predict", {"inference.predict", "patches.patch_rule", "nn.classifier"}),
        (
            "score",
            {
                "evaluation.statistics.intervals",
                "evaluation.aggregation.simple",
                "evaluation.localisation.detection",
            },
        ),
        ("compare", {"evaluation.comparison.paired", "evaluation.comparison.compare_methods"}),
        (
            "prepare",
            {"data.sources.bcs_dbt", "data.preparation.prepare_volume", "data.sources.slice_files"},
        ),
        ("features", {"nn.backbones"}),
        ("tasks", {"evaluation.probes.frozen_probes"}),
        ("phantom", {"phantom.findings.lesions"}),
    ],
)
def test_what_a_stage_reaches(now, stage, modules):
    """Also what is imported in a function, what is registered, and what plugins are given by the API."""
    assert {f"dbtssl.{name}" for name in modules} <= set(now[stage].modules)
    assert not [
        name for name in now[stage].modules if name.startswith(("dbtssl.cli", "dbtssl.report.html"))
    ]


def changed(folder, old, new):
    """A copy of dbtssl in which the one place that holds ``old`` holds ``new``."""
    package = folder / "dbtssl"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    (path,) = (p for p in package.rglob("*.py") if old in p.read_text(encoding="utf-8"))
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    return package


TEACHER = "mine.lerp_(theirs, 1.0 - momentum)"


def test_a_change_of_the_core_is_named_with_stage_module_and_what_to_do(now, tmp_path):
    found = stage_code(changed(tmp_path, TEACHER, "mine.lerp_(theirs, momentum)"))
    told = {text.partition(":")[0]: text for text in differences(now, found)}
    assert set(told) == {"pretrain", "finetune"}  # what plugins are handed by the API
    assert told["pretrain"] == (
        f"pretrain: its code changed and PRETRAIN_VERSION is still {now['pretrain'].version}: dbtssl.nn.teacher. If a "
        "result can be another one, raise PRETRAIN_VERSION; then, or if none can, run `python -m "
        "dbtssl.testing.stage_code --confirm`"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (TEACHER, f"{TEACHER}  # slowly"),
        ('"""The momentum teacher: a copy', '"""A teacher: a copy'),
        ('raise DataError(f"no predictions at {path}"', 'raise DataError(f"nothing at {path}"'),
    ],
    ids=["comment", "docstring", "words of an error"],
)
def test_words_do_not_count(now, tmp_path, old, new):
    assert differences(now, stage_code(changed(tmp_path, old, new))) == []


def test_a_module_that_moves_does_not_count(now, tmp_path):
    package = tmp_path / "dbtssl"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "nn" / "teacher.py").rename(package / "nn" / "slow_copy.py")
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "dbtssl.nn.teacher" in text:
            path.write_text(text.replace("dbtssl.nn.teacher", "dbtssl.nn.slow_copy"))
    found = stage_code(package)
    assert "dbtssl.nn.slow_copy" in found["pretrain"].modules
    assert differences(now, found) == []


def test_a_version_that_was_raised_is_to_be_recorded(now):
    raised = now | {"score": StageCode(99, "other", {}, "SCORE_VERSION")}
    (told,) = differences(now, raised)
    assert told.startswith("score: SCORE_VERSION is 99, recorded is ")
    assert told.endswith("run `python -m dbtssl.testing.stage_code --confirm`")


def test_stages_that_come_and_go(now):
    without = {name: code for name, code in now.items() if name != "tasks"}
    assert differences(without, now)[0].startswith("tasks: this stage is new; run ")
    assert differences(now, without)[0].startswith("tasks: this stage is gone; run ")


def test_what_is_written_is_read_again(now, tmp_path):
    write(tmp_path / "file.toml", now)
    assert differences(read(tmp_path / "file.toml"), now) == []
    assert read(tmp_path / "none.toml") == {}


def test_the_command_says_what_changed_and_confirms(now, tmp_path):
    file = tmp_path / "file.toml"
    old = now["score"]
    write(file, now | {"score": StageCode(old.version, "other", {}, old.constant)})

    def run(*words):
        command = [sys.executable, "-m", "dbtssl.testing.stage_code", "--file", str(file), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    first = run()
    assert first.returncode == 1
    assert f"score: its code changed and SCORE_VERSION is still {old.version}: " in first.stdout
    assert run("--confirm").returncode == 0
    last = run()
    assert (last.returncode, last.stdout) == (0, "every stage is as recorded\n")


def test_the_command_outside_a_checkout(tmp_path):
    command = [sys.executable, "-m", "dbtssl.testing.stage_code"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "run this in a checkout of dbtssl" in done.stderr
