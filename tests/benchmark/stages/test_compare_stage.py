"""The stage that compares the rows of a run, and what the table and the report make of it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import dbtssl
from dbtssl.benchmark.results.environment import code_state, run_environment
from dbtssl.benchmark.results.report_content import report_content, without_folders
from dbtssl.benchmark.results.run_record import record_table
from dbtssl.benchmark.spec.spec_files import recorded_spec
from dbtssl.benchmark.spec.specification import Spec
from dbtssl.config import result_fields, validate
from dbtssl.engine.store import Store
from dbtssl.errors import ConfigError, DataError
from dbtssl.evaluation.comparison.compare_methods import compare
from dbtssl.report.html.page import html_page


def test_every_method_is_compared_with_the_baseline(make_run):
    run = make_run("one", {"random-init": 0.2, "weak": 0.3, "strong": 3.0}, seeds=(0, 1))
    table = record_table(run.record, run.store)
    assert table.baseline == "random-init"
    means = {r.method: r for r in table.rows if r.level == "volume" and r.seeds and not r.subgroup}
    assert means["random-init"].differences == {}
    sets = {}
    for row in run.record.rows:
        units = next(s for s in run.units(row).sets if s.level == "volume")
        sets.setdefault(row.method, []).append(units)
    for d in compare(sets, "random-init"):
        assert means[d.method].differences["auc"] == d
    assert means["strong"].cells["auc"].rank == "best"
    assert not means["strong"].cells["auc"].tied
    singles = [r for r in table.rows if r.single]
    assert singles
    assert not any(r.differences or r.cells["auc"].tied for r in singles)
    assert any("smallest difference in AUC" in note for note in table.notes)


def test_who_cannot_be_told_apart_from_the_best_is_marked(make_run):
    run = make_run("one", {"random-init": 0.0, "a": 1.0, "b": 1.0001})
    rows = [r for r in record_table(run.record, run.store).rows if r.level == "patient"]
    marks = {
        r.method: (r.cells["auc"].rank, r.cells["auc"].tied) for r in rows if r.kind == "method"
    }
    best = [name for name, (rank, _) in marks.items() if rank == "best"]
    assert all(not marks[name][1] for name in best[:1])
    others = {"a", "b"} - set(best)
    assert all(marks[name][1] for name in others)


def test_another_baseline_and_none(make_run):
    chosen = make_run("one", {"x": 0.2, "y": 2.0}, baseline="y")
    table = record_table(chosen.record, chosen.store)
    assert table.baseline == "y"
    none = make_run("two", {"x": 0.2, "y": 2.0})
    table = record_table(none.record, none.store)
    assert table.baseline == ""
    assert not any(row.differences for row in table.rows)


def test_a_baseline_that_is_no_row_is_refused():
    with pytest.raises(
        ConfigError, match=r"baseline 'sift' is none of the rows. Did you mean 'sift-dbt'\?"
    ):
        validate(Spec, {"name": "a", "methods": ["sift-dbt"], "baseline": "sift"})


def test_a_recorded_specification_is_the_one_that_was_run():
    """Its fields are all stated, also those that exclude each other unless they are defaults."""
    for fields in (
        {},
        {"split": {"lists": "folder"}},
        {"predict": {"inference": "grid", "overlap": 0.25}},
        {"method": {"a": {"objective": {"crop_size": 64}}}},
    ):
        spec = validate(Spec, {"name": "x", "methods": ["a"]} | fields)
        assert recorded_spec(result_fields(spec), "file") == spec


def test_a_report_of_a_run_whose_data_are_gone_still_has_its_numbers(make_run):
    run = make_run("one", seeds=(0, 1))
    content = report_content(run)
    assert content.counts == ()
    assert content.looked.examples == ()
    page = html_page(content)
    assert "not at hand any more" in page
    assert "2 seeds" in page
    for row in content.table.rows:
        if row.level == "volume" and (value := row.cells["auc"].value.value) is not None:
            assert f"{100 * value:.1f}" in page


def test_no_folder_of_this_machine_reaches_the_report(make_run):
    run = make_run("one", data={"source": "phantom", "root": "/home/somebody/data"})
    page = html_page(report_content(run))
    assert "somebody" not in page
    assert str(run.folder) not in page


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"root": "data"}, {"root": "(a folder or file, not shown)"}),
        ({"a": ["/x/y", "plain"]}, {"a": ["(a folder or file, not shown)", "plain"]}),
        ({"weights": "C:\\w.pth"}, {"weights": "(a folder or file, not shown)"}),
        ({"root": ""}, {"root": ""}),
        ({"lr": 0.1, "weights": "imagenet"}, {"lr": 0.1, "weights": "imagenet"}),
    ],
)
def test_folders_are_left_out(value, shown):
    assert without_folders(value) == shown


def test_the_state_of_the_code(tmp_path):
    package = tmp_path / "checkout" / "dbtssl"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    assert code_state(package) == ""

    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *identity, *words], cwd=package, check=True, capture_output=True)

    git("init")
    assert code_state(package) == ""  # the package is not in it
    git("add", ".")
    git("commit", "-m", "first")
    assert re.fullmatch(r"commit [0-9a-f]{12}", code_state(package))
    (package / "__init__.py").write_text("changed")
    assert code_state(package).endswith(", with changes that are not committed")


def test_the_environment_names_versions_and_no_folder():
    found = run_environment("cpu")
    assert found["device"] == "cpu"
    assert int(found["cores"]) >= 1
    assert found["dbtssl"] == dbtssl.__version__
    assert not any(str(Path(dbtssl.__file__).parents[1]) in value for value in found.values())


def test_what_a_score_left_out_is_said_below_the_table_once(make_run):
    notes = record_table((run := make_run("one")).record, run.store).notes
    said = [n for n in notes if n.startswith("Slices of the test split are labelled as the file")]
    assert len(said) == 1


def test_a_table_without_its_store_is_refused_and_nothing_is_called_failed(make_run, tmp_path):
    run = make_run("one")
    with pytest.raises(DataError, match="the score of random-init, seed 0, is not in the store"):
        record_table(run.record, Store(tmp_path / "elsewhere"))
