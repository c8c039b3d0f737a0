"""Rows that differ in more than the method: the mark in every format, and the lines below the table."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dbtssl.report.build_table import build_table
from dbtssl.report.html.page import html_page
from dbtssl.report.label_overview.label_curves_text import Budget, LabelCurves, label_markdown
from dbtssl.report.row_differences import Conditions, unlike_notes, unlike_rows
from dbtssl.report.table_model import Compared
from dbtssl.report.writers.write_table import render

WORDS = "finetune.strategy full (discriminative), backbone.name resnet18 (resnet50)"
LINE = f"other ≠fe: {WORDS}; in brackets random-init."


@pytest.fixture
def table(entry, difference):
    entries = [
        entry("random-init", 0.7),
        entry("alike", 0.9),
        entry("other", 0.95, finetuner="full", backbone="resnet18"),
    ]
    compared = Compared("random-init", (difference("alike"), difference("other")))
    return build_table("Title", entries, phantom=True, compared=compared)


def rows(table):
    return {row.method: row for row in table.rows if row.kind == "method"}


def test_a_difference_of_unlike_rows_is_not_tested(table):
    alike, other = rows(table)["alike"], rows(table)["other"]
    assert alike.differences["auc"].p_holm == 0.002
    assert (other.differences["auc"].p, other.differences["auc"].p_holm) == (None, None)
    assert other.differences["auc"].low == 0.081
    assert set(other.unlike) == {"f", "e"}


def test_every_format_to_read_has_the_mark_and_the_line(table):
    texts = {form: render(table, form).decode() for form in ("terminal", "markdown", "latex")}
    for form, text in texts.items():
        mark = r"$\ne$fe" if form == "latex" else "≠fe"
        starred = r"+20.0\*\*" if form == "markdown" else "+20.0**"
        assert text.count(f"+20.0{mark}") == 1, form
        assert text.count(starred) == 1, form
    assert LINE in " ".join(texts["terminal"].split())
    assert LINE.replace("_", r"\_") in texts["markdown"]
    assert LINE in texts["latex"]
    shown = texts["latex"].partition(r"\end{tabular}")[2].partition(r"\end{table}")[0]
    assert "finetune.strategy full" in shown  # printed, not a comment


def test_every_format_for_machines_has_it(table):
    lines = list(csv.DictReader(io.StringIO(render(table, "csv").decode())))
    of = {x["method"]: x for x in lines if x["metric"] == "auc"}
    assert (of["other"]["unlike"], of["other"]["p_holm"]) == (WORDS, "")
    assert (of["alike"]["unlike"], of["alike"]["p_holm"]) == ("", "0.002")
    parquet = pq.read_table(pa.BufferReader(render(table, "parquet"))).to_pylist()
    assert {x["unlike"] for x in parquet if x["method"] == "other"} == {WORDS}
    found = json.loads(render(table, "json"))["rows"]
    assert next(r for r in found if r["method"] == "other")["unlike"] == {
        "f": ["finetune.strategy full (discriminative)"],
        "e": ["backbone.name resnet18 (resnet50)"],
    }


def test_the_page_has_it(table, content):
    page = html_page(replace(content(), table=table))
    assert "+20.0≠fe" in page
    assert f"not of the method alone: {WORDS}" in page
    assert LINE in page
    assert "other, volumes ≠fe" in page  # the picture of the differences
    assert "alike, volumes ≠" not in page
    assert "alike, volumes" in page


def test_the_overview_of_labels_has_it(table, difference, entry):
    entries = [entry(n, levels=("slice",)) for n in ("random-init", "alike")]
    entries.append(entry("other", levels=("slice",), finetuner="full"))
    compared = Compared(
        "random-init", (difference("alike", level="slice"), difference("other", level="slice"))
    )
    of_slices = build_table("Title", entries, phantom=False, compared=compared)
    text = label_markdown(LabelCurves("Title", False, (Budget(0.5, 3, 4, "x", of_slices),)))
    assert "+20.0≠f" in text
    assert r"+20.0\*\*" in text
    assert "other ≠f: finetune.strategy full (discriminative); in brackets random-init." in text


def made(images=None, **finetuning):
    return Conditions(finetuning=finetuning, encoder={"backbone.name": "cnn7"}, images=images)


def test_without_a_baseline_the_lines_are_of_the_first_row():
    notes = list(
        unlike_notes({"a": made(lr=1), "b": made(lr=2), "c": made(lr=1)}, "", marked=False)
    )
    assert len(notes) == 2
    assert notes[1] == "b ≠f: lr 2 (1); in brackets a."


def test_images_of_rows_that_are_both_pretrained_are_listed_whatever_the_baseline():
    of = {"random-init": made(), "a": made(100), "b": made(300), "c": made(100)}
    (note,) = unlike_notes(of, "random-init", marked=True)
    assert note.endswith("100 a, c; 300 b.")
    assert unlike_rows(of) == ["b: 300 images (100) (in brackets: a)"]
    assert list(unlike_notes({"a": made(1000), "b": made(1005)}, "a", marked=True)) == []


def test_rows_alike_have_no_notes():
    assert list(unlike_notes({"a": made(lr=1), "b": made(lr=1)}, "a", marked=True)) == []
    assert unlike_rows({"a": made(lr=1), "b": made(5, lr=1)}) == []
