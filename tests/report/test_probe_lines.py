"""The tasks of frozen features in a table: a group of its own in every rendering."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from dbtssl.evaluation.probes.frozen_probes import FrozenTasks
from dbtssl.evaluation.values import Value
from dbtssl.report.build_table import build_table
from dbtssl.report.html.html_tables import html_tables
from dbtssl.report.query import screen, select
from dbtssl.report.writers.tidy import records
from dbtssl.report.writers.write_table import FORMATS, render

HEADING = (
    "frozen features, before fine-tuning, volume level, 50 test patients, evaluation set eeeeeeee"
)


def frozen(rho=0.4, recall=0.5, no_density="", **change):
    values = {} if no_density else {"density-rho": Value(value=rho, low=rho - 0.1, high=rho + 0.1)}
    values["recall@10"] = Value(value=recall, low=recall - 0.25, high=recall + 0.25)
    fields = {
        "values": values,
        "n_known": (0, 0, 0) if no_density else (300, 40, 180),
        "no_density": no_density,
        "queries": 160,
        "candidates": (90, 100),
        "chance": 0.1,
        "n_volumes": 190,
        "n_patients": 50,
        "evaluation_set": "e" * 64,
        "rule": "r" * 64,
        "slices": 4,
        "patches": 2,
    }
    return FrozenTasks(**(fields | change))


@pytest.fixture
def with_tasks(entry):
    """Two methods, the second of two seeds; `no_density` gives the reason why there is no density."""

    def make(no_density="", **kwargs):
        runs = (("random-init", 0, 0.3), ("moco-v2", 0, 0.5), ("moco-v2", 1, 0.6))
        entries = [
            replace(entry(method, seed=seed, **kwargs), frozen=frozen(rho, rho, no_density))
            for method, seed, rho in runs
        ]
        return build_table("Title", entries, phantom=True)

    return make


def lines(table):
    return [row for row in table.rows if row.frozen]


def test_frozen_features_are_a_group_below_the_detection(with_tasks):
    table = with_tasks()
    found = lines(table)
    assert table.rows[-len(found) :] == tuple(found)
    assert [(r.method, r.seed, r.seeds) for r in found] == [
        ("random-init", 0, ()),
        ("moco-v2", None, (0, 1)),
        ("moco-v2", 0, ()),
        ("moco-v2", 1, ()),
    ]
    mean = found[1].cells["density-rho"]
    assert mean.value.value == pytest.approx(0.55)
    assert mean.sd == pytest.approx(np.std([0.5, 0.6], ddof=1))
    assert (mean.rank, found[0].cells["density-rho"].rank) == ("best", "second")
    assert {r.finetuner for r in found} == {""}
    assert len(table.groups()) == 2


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_has_them(with_tasks, form):
    content = render(with_tasks(), form)
    if form == "parquet":
        return  # made of the records below
    text = content.decode()
    if form in ("markdown", "latex", "terminal"):
        assert HEADING.partition(",")[0] in text
        assert "R@10" in text
        assert "0.30" in text
    elif form == "json":
        found = [row for row in json.loads(text)["rows"] if row["frozen"]]
        assert found[0]["cells"]["recall@10"]["value"]["value"] == 0.3
    else:
        assert any(
            "frozen features" in x and "density-rho,plain,0.3,0.2,0.4" in x
            for x in text.splitlines()
        )


def test_records_are_in_printed_units(with_tasks):
    found = {
        r["metric"]: (r["value"], r["low"], r["high"], r["protocol"], r["finetuner"])
        for r in records(with_tasks())
        if r["method"] == "random-init" and r["protocol"] == "frozen features"
    }
    assert found == {
        "density-rho": (0.3, 0.2, 0.4, "frozen features", ""),
        "recall@10": (30.0, 5.0, 55.0, "frozen features", ""),
    }


def test_the_page_and_the_screen_show_them(with_tasks):
    table = with_tasks()
    last = html_tables(table, {})[-1]
    assert last.main
    assert last.heading == HEADING
    assert [column.label for column in last.columns] == ["method", "Density ρ", "R@10"]
    assert lines(screen(table)) == lines(table)


def test_notes_tell_how_and_what_chance_is(with_tasks):
    notes = with_tasks().notes
    assert len([n for n in notes if n.startswith("Frozen features:")]) == 1
    assert len([n for n in notes if n.startswith("Density ρ:") and "180 test volumes" in n]) == 1
    assert any(n.startswith("R@10:") and n.endswith("chance 10.0 %.") for n in notes)


def test_without_density_the_column_is_absent_and_one_note_says_why(with_tasks):
    table = with_tasks(no_density="no table is given")
    text = render(table, "markdown").decode()
    assert "Density ρ" not in text
    assert text.count("No breast density beside the frozen features: no table is given.") == 1


def test_what_is_empty_says_why_of_frozen_features_alone(entry):
    empty = frozen(values={"recall@10": Value(reason="test volumes of a view: 9; 20 are needed")})
    table = build_table("Title", [replace(entry(), frozen=empty)], phantom=True)
    assert (
        "Empty: R@10 of sift-dbt (frozen features): test volumes of a view: 9; 20 are needed."
        in table.notes
    )


def test_a_failed_run_has_an_empty_line(entry):
    entries = [replace(entry("moco-v2"), frozen=frozen()), entry("broken", failure="no memory")]
    found = lines(build_table("Title", entries, phantom=True))
    assert [(r.method, r.failure) for r in found] == [("moco-v2", ""), ("broken", "no memory")]
    assert found[1].cells["recall@10"].value.value is None


def test_a_row_that_shares_its_encoder_is_told_once(entry):
    one = replace(entry("moco-v2", finetuner="linear"), frozen=frozen())
    other = replace(entry("moco-v2", finetuner="full"), frozen=frozen())
    assert len(lines(build_table("Title", [one, other], phantom=True))) == 1


def test_without_tasks_nothing_is_there(table):
    assert lines(table) == []
    assert "recall@10" not in table.metrics
    assert not [n for n in table.notes if "rozen" in n]


def test_asking_for_columns_and_rows(with_tasks):
    table = with_tasks()
    assert lines(select(table, columns="auc")) == []
    assert len(lines(select(table, columns="recall@10"))) == 4
    ordered = select(table, where="density-rho>0.2", sort="recall@10").rows
    assert [r.method for r in ordered if not r.single] == ["random-init", "moco-v2"]
