from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from dbtssl.benchmark.results.compare_runs import compare_runs
from dbtssl.benchmark.results.provenance import ComponentRecord
from dbtssl.benchmark.results.run_record import record_table
from dbtssl.cli.main import main
from dbtssl.errors import ConfigError
from dbtssl.evaluation.comparison.compare_methods import compare


def auc(run, method="moco-v2", level="volume"):
    row = next(r for r in run.record.rows if r.method == method)
    units = next(s for s in run.units(row).sets if s.level == level)
    return roc_auc_score(units.abnormal, units.scores), units


def test_differences_are_paired_and_corrected(make_run):
    a, b = make_run("one"), make_run("two", {"random-init": 0.5, "moco-v2": 3.0})
    found = compare_runs([a, b])
    pair = next(p for p in found.pairs if (p.method, p.level) == ("moco-v2", "volume"))
    (before, units_a), (after, units_b) = auc(a), auc(b)
    assert pair.before.value == pytest.approx(before)
    assert pair.after.value == pytest.approx(after)
    assert pair.difference.difference == pytest.approx(after - before)
    (alone,) = compare({"a": [units_a], "b": [units_b]}, "a")
    assert (pair.difference.low, pair.difference.high) == (alone.low, alone.high)
    same = next(p for p in found.pairs if (p.method, p.level) == ("random-init", "volume"))
    ps = [p for p in (pair.difference.p, same.difference.p) if p is not None]
    assert pair.difference.p_holm == pytest.approx(min(1, len(ps) * pair.difference.p))
    assert {p.level for p in found.pairs} == {"slice", "volume", "breast", "patient"}


def test_what_was_changed(make_run):
    a = make_run("one")
    b = make_run("two", seeds=(1,), pretrain={"epochs": 9})
    found = compare_runs([a, b])
    changed = {c.name: c.values for c in found.config}
    assert changed == {
        "name": ("one", "two"),
        "seeds": ("[0]", "[1]"),
        "pretrain.epochs": (None, "9"),
        "pretrain": ("{}", None),
    }
    assert found.environment == ()


def recorded(run, by_method, code="a" * 64, version="0.1"):
    """``run`` with what its rows were made with, and a sampler of a plugin in each."""
    sampler = ComponentRecord(
        kind="sampler", name="near", plugin="p", distribution="p-near", version=version, code=code
    )
    rows = tuple(
        row.model_copy(update={"made_with": by_method[row.method], "components": (sampler,)})
        for row in run.record.rows
    )
    return replace(run, record=run.record.model_copy(update={"rows": rows}))


OLD, NEW = {"torch": "2.10", "device": "cpu"}, {"torch": "2.11", "device": "cuda, H200"}


def test_what_the_stages_were_made_with_differs_also_where_the_last_run_had_the_same(make_run):
    a = recorded(make_run("one"), {"random-init": OLD, "moco-v2": OLD})
    b = recorded(make_run("two"), {"random-init": OLD, "moco-v2": NEW})
    assert a.record.environment == b.record.environment
    found = compare_runs([a, b])
    assert {c.name: c.values for c in found.environment} == {
        "torch": ("2.10", "2.10; 2.11"),
        "device": ("cpu", "cpu; cuda, H200"),
    }


def test_rows_that_were_not_made_alike_are_named_below_the_table(make_run):
    run = make_run("one")
    mixed = recorded(run, {"random-init": OLD, "moco-v2": NEW}).record
    (note,) = (n for n in record_table(mixed, run.store).notes if "other conditions" in n)
    assert note.endswith(
        "torch 2.10 (random-init, seed 0), 2.11 (moco-v2, seed 0); "
        "device cpu (random-init, seed 0), cuda, H200 (moco-v2, seed 0)."
    )
    within = recorded(run, {name: {"torch": "2.10; 2.11"} for name in ("random-init", "moco-v2")})
    (note,) = (n for n in record_table(within.record, run.store).notes if "other conditions" in n)
    assert note.endswith("torch 2.10 and 2.11 (random-init, seed 0, moco-v2, seed 0).")


def test_rows_that_were_made_alike_have_no_such_note(make_run):
    run = make_run("one")
    alike = recorded(run, {"random-init": OLD | {"threads": "1"}, "moco-v2": OLD}).record
    for record in (run.record, alike):  # an older record knows nothing
        assert not [n for n in record_table(record, run.store).notes if "other conditions" in n]


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"code": "b" * 64}, "p-near 0.1, code bbbbbbbbbbbb"),
        ({"version": "0.2"}, "p-near 0.2, code aaaaaaaaaaaa"),
    ],
)
def test_code_and_version_of_a_component_that_differ_are_named(make_run, changed, shown):
    made = {"random-init": OLD, "moco-v2": OLD}
    a = recorded(make_run("one"), made)
    b = recorded(make_run("two"), made, **changed)
    (change,) = compare_runs([a, b]).components
    assert (change.name, change.values) == (
        "sampler near",
        ("p-near 0.1, code aaaaaaaaaaaa", shown),
    )
    assert compare_runs([a, a]).components == ()
    assert compare_runs([a, make_run("three")]).components == ()  # an older record names none


def test_folders_of_this_machine_are_not_shown(make_run):
    a = make_run("one", data={"source": "phantom", "root": "/home/somebody/data"})
    b = make_run("two", data={"source": "phantom", "root": "/mnt/other"})
    text = compare_runs([a, b]).model_dump_json()
    assert "somebody" not in text
    assert "/mnt" not in text
    assert "data.root" in text


def test_other_evaluation_sets_are_refused_in_words(make_run):
    a, b = make_run("one"), make_run("two", test_patients=20)
    found = compare_runs([a, b])
    assert all(p.difference is None for p in found.pairs)
    refusal = next(p.refusal for p in found.pairs if p.level == "volume")
    assert refusal.startswith("the evaluation sets differ: ")
    assert "with 32 (16 abnormal) volumes and" in refusal
    assert "with 40 (20 abnormal)" in refusal
    assert found.moved == ()


def test_other_protocols_are_refused_in_words(make_run):
    found = compare_runs([make_run("one"), make_run("two", protocol="strict-actionable-normal")])
    (refusal,) = {p.refusal for p in found.pairs}
    assert refusal == "the protocols differ: strict 2 and strict-actionable-normal 2"
    assert any(c.name == "protocol" for c in found.data)


def test_rows_of_a_diagnostic_protocol_are_not_subtracted(make_run):
    runs = [make_run(name, protocol="as-published") for name in ("one", "two")]
    found = compare_runs(runs)
    assert found.pairs
    assert all(p.difference is None for p in found.pairs)
    assert {p.refusal for p in found.pairs} == {
        "rows of as-published are a diagnostic: the lesion's box has placed their patches"
    }


def test_the_patients_that_moved_most(make_run):
    a, b = make_run("one", {"x": 0.2}), make_run("two", {"x": 2.5})
    found = compare_runs([a, b])

    def ranks(run):
        units = auc(run, "x")[1]
        names = np.array([i.split("_")[0] for i in units.ids])
        patients = sorted(set(names))
        return dict(
            zip(
                patients, rankdata([-units.scores[names == p].max() for p in patients]), strict=True
            )
        )

    before, after = ranks(a), ranks(b)
    moves = sorted((abs(after[p] - before[p]) for p in before), reverse=True)[:10]
    assert [abs(m.after - m.before) for m in found.moved] == [m for m in moves if m]
    first = found.moved[0]
    assert (first.before, first.after) == (before[first.patient], after[first.patient])
    assert first.abnormal == (int(first.patient[1:]) % 2 == 0)
    assert first.patients == 16


def test_two_runs_of_one_row_each_are_compared_whatever_they_are_called(make_run):
    found = compare_runs([make_run("one", {"x": 1.0}), make_run("two", {"y": 1.0})])
    assert {p.method for p in found.pairs} == {"y less x"}


def test_rows_that_are_not_in_both_are_named(make_run):
    found = compare_runs([make_run("one"), make_run("two", {"moco-v2": 1.0, "medaug": 1.0})])
    assert {p.method for p in found.pairs} == {"moco-v2"}
    assert found.notes == ("run B: not in both runs: medaug, random-init of A",)
    other = compare_runs([make_run("one"), make_run("three", {"x": 1.0, "y": 1.0})])
    assert other.pairs == ()
    assert "no row of one name" in other.notes[0]


def test_three_runs_stand_beside_the_first(make_run):
    runs = [make_run(n, {"x": s}) for n, s in (("one", 0.5), ("two", 1.0), ("three", 2.0))]
    found = compare_runs(runs)
    assert {p.run for p in found.pairs} == {"B", "C"}
    name = next(c for c in found.config if c.name == "name")
    assert name.values == ("one", "two", "three")


def test_one_run_alone_is_refused(make_run):
    with pytest.raises(ConfigError, match="one run alone cannot be compared"):
        compare_runs([make_run()])


def test_the_command(make_run, capsys):
    a, b = make_run("one"), make_run("two", {"random-init": 0.5, "moco-v2": 3.0})
    for form in ([], ["--format", "markdown"], ["--json"]):
        with pytest.raises(SystemExit) as left:
            main(["compare", str(a.folder), str(b.folder), *form], prog_name="dbtssl")
        assert not left.value.code
        text = capsys.readouterr().out
        assert "phantom, not patients" in text
        if form == ["--json"]:
            assert json.loads(text)["runs"][0].startswith("one")


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex", "csv", "json", "parquet"])
def test_the_table_in_a_file_is_the_one_that_a_run_writes(make_run, tmp_path, capsys, form):
    from dbtssl.report.writers.write_table import FORMATS, write_table

    run = make_run("one")
    write_table(record_table(run.record, run.store), tmp_path / "written")
    path = tmp_path / "table"
    with pytest.raises(SystemExit) as left:
        main(["table", str(run.folder), "--format", form, "--out", str(path)], prog_name="dbtssl")
    assert not left.value.code
    assert path.read_bytes() == (tmp_path / "written" / FORMATS[form][0]).read_bytes()
    assert str(path) in capsys.readouterr().out


def test_parquet_is_not_printed(make_run, capsys):
    with pytest.raises(SystemExit) as left:
        main(["table", str(make_run("one").folder), "--format", "parquet"], prog_name="dbtssl")
    assert left.value.code == 2
    assert "hint: name a file with --out" in " ".join(capsys.readouterr().err.split())


def test_a_folder_that_is_no_run(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as left:
        main(["table", str(tmp_path / "empty")], prog_name="dbtssl")
    assert left.value.code == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "is not a run: there is no benchmark.json" in error
    assert "hint: give the folder" in error


def test_a_folder_of_several_runs_names_them(make_run, tmp_path, capsys):
    make_run("one")
    make_run("two")
    with pytest.raises(SystemExit):
        main(["report", str(tmp_path)], prog_name="dbtssl")
    assert "it holds the runs one, two" in " ".join(capsys.readouterr().err.split())


def test_predictions_that_are_gone_are_said_to_be(make_run, capsys):
    import shutil

    run = make_run("one")
    whole = run.store.root.resolve()
    run.store.root.unlink()
    shutil.copytree(whole, run.store.root)
    shutil.rmtree(run.store.root / "predict")
    with pytest.raises(SystemExit) as left:
        main(["compare", str(run.folder), str(run.folder)], prog_name="dbtssl")
    assert left.value.code == 2
    assert "is not in the store" in " ".join(capsys.readouterr().err.split())


def test_a_damaged_record(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "benchmark.json").write_text("{}")
    with pytest.raises(SystemExit):
        main(["table", str(tmp_path / "run")], prog_name="dbtssl")
    assert "is damaged, or of another version" in " ".join(capsys.readouterr().err.split())
