"""What stands beside a row that its stages warned of: a mark on its name and a line below, in every rendering."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dbtssl.report.build_table import build_table
from dbtssl.report.html.html_tables import html_tables
from dbtssl.report.label_overview.label_curves_text import (
    Budget,
    LabelCurves,
    label_csv,
    label_markdown,
)
from dbtssl.report.writers.latex import latex
from dbtssl.report.writers.markdown import markdown
from dbtssl.report.writers.terminal import plain_text
from dbtssl.report.writers.tidy import parquet, table_json, tidy_csv

SAID = "no weight moved"


@pytest.fixture
def warned(entry):
    """Two methods of two seeds: of ``still`` seed 1 has a warning; and one that failed, with a hint."""
    entries = [
        entry(name, 0.7 + 0.1 * seed, seed=seed)
        for name in ("sift-dbt", "still")
        for seed in (0, 1)
    ]
    entries[-1] = replace(entries[-1], warnings=(SAID,))
    entries.append(replace(entry("broken", failure="no memory."), hint="buy some."))
    return build_table("Title", entries, phantom=True)


def test_the_rows_have_it_and_the_mean_takes_it_over(warned):
    found = {(r.method, r.seed): r.warnings for r in warned.rows if r.kind == "method"}
    assert {key for key, said in found.items() if said} == {("still", None), ("still", 1)}
    assert found["still", None] == (SAID,)


@pytest.mark.parametrize("render", [markdown, latex, plain_text])
def test_words_have_a_mark_on_the_name_and_a_line_below(warned, render):
    text = render(warned)
    assert "still (!)" in text
    assert "seed 1 (!)" in text
    assert "seed 0 (!)" not in text
    assert "sift-dbt (!)" not in text
    assert f"(!) still, seed 1: {SAID}." in text
    assert "broken, seed 0, failed: no memory. Hint: buy some." in text


def test_machines_have_it_in_each_record(warned):
    rows = list(csv.DictReader(io.StringIO(tidy_csv(warned))))
    typed = pq.read_table(pa.BufferReader(parquet(warned))).to_pylist()
    for found in (rows, typed):
        assert {r["warnings"] for r in found if r["method"] == "sift-dbt"} == {""}
        assert {r["warnings"] for r in found if r["method"] == "still"} == {"", SAID}
        assert {(r["failure"], r["hint"]) for r in found if r["method"] == "broken"} == {
            ("no memory.", "buy some.")
        }
    plain = json.loads(table_json(warned))["rows"]
    assert [r["warnings"] for r in plain if r["method"] == "still"] == [[SAID], [], [SAID]]


def test_the_page_has_it_beside_the_name(warned):
    (table,) = html_tables(warned, {})
    names = [
        (row.cells[0].text, row.cells[0].title) for row in table.rows if "method" in row.classes
    ]
    assert ("still (!)", SAID) in names
    assert ("seed 1 (!)", SAID) in names
    assert ("sift-dbt", "") in names
    assert ("broken", "no memory. Hint: buy some") in names


def test_the_overview_marks_rows_of_slices(entry):
    one = replace(entry("still", levels=("slice",)), warnings=(SAID,))
    table = build_table("Title", [one, entry("sift-dbt", levels=("slice",))], phantom=True)
    text = label_markdown(LabelCurves("Title", True, (Budget(0.5, 3, 4, "labels-0.5", table),)))
    assert "| still (!) |" in text
    assert "sift-dbt (!)" not in text
    assert f"(!) still: {SAID}." in text
    assert SAID in label_csv(LabelCurves("Title", True, (Budget(0.5, 3, 4, "labels-0.5", table),)))


def test_a_level_without_its_aggregator_has_an_empty_line_where_others_have_it(entry):
    both = entry("sift-dbt", levels=("slice", "volume"))
    half = replace(
        entry("half", levels=("slice",)),
        missing={
            "volume": "aggregator 'x' gave 3 scores",
            "patient": "aggregator 'x' gave 3 scores",
        },
    )
    table = build_table("Title", [both, half], phantom=True)
    (line,) = [r for r in table.rows if r.method == "half" and r.level == "volume"]
    assert line.failure == "aggregator 'x' gave 3 scores"
    assert all(cell.value.value is None for cell in line.cells.values())
    (scored,) = [r for r in table.rows if r.method == "half" and r.level == "slice"]
    assert scored.cells["auc"].value.value == 0.9
    assert not scored.failure
    assert (
        "half, seed 0 (volume, patient level), failed: aggregator 'x' gave 3 scores." in table.notes
    )
