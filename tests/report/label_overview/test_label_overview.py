"""The overview of several fractions of the labels: what each table says, side by side, and nothing across them."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from dbtssl.evaluation.values import Value
from dbtssl.report.build_table import build_table
from dbtssl.report.label_overview.label_curves_plot import (
    _points,
    label_picture,
    write_label_curves,
)
from dbtssl.report.label_overview.label_curves_text import (
    Budget,
    LabelCurves,
    label_csv,
    label_json,
    label_markdown,
    label_records,
)
from dbtssl.report.table_model import PHANTOM, Cell, Compared

LEVELS = ("slice", "volume")
AUCS = {0.1: {"random-init": 0.6, "moco-v2": 0.8}, 1.0: {"random-init": 0.9, "moco-v2": 0.85}}
SETS = {"slice": "a" * 64, "volume": "b" * 64}


@pytest.fixture
def curves(entry, difference, tie):
    """Two shares, the larger first; moco-v2 is better with few labels."""
    budgets = []
    for share, patients in ((1.0, 20), (0.1, 2)):
        entries = [entry(name, auc, levels=LEVELS) for name, auc in AUCS[share].items()]
        delta = AUCS[share]["moco-v2"] - AUCS[share]["random-init"]
        found = [
            difference("moco-v2", level=level, difference=delta, low=delta - 0.1, high=delta + 0.1)
            for level in LEVELS
        ]
        ties = (tie("moco-v2", level="slice"),) if share == 1 else ()
        compared = Compared("random-init", tuple(found), ties)
        table = build_table("T", entries, phantom=True, compared=compared)
        budgets.append(Budget(share, patients, 3 * patients, f"labels-{share:g}", table))
    return LabelCurves("T", True, tuple(budgets))


def cells(text, name, part):
    """The cells of a method in the first or second table of the Markdown text."""
    lines = [x for x in text.splitlines() if x.startswith(f"| {name} ")]
    return [cell.strip() for cell in lines[part].split("|")[2:-1]]


def test_each_share_is_a_column_with_values_intervals_and_marks_of_its_own(curves):
    text = label_markdown(curves)
    assert f"AUC by fraction of the labels ({PHANTOM})" in text
    assert "| method | 10 % (2 + 6) | 100 % (20 + 60) |" in text
    assert cells(text, "moco-v2", 0) == [
        "**80.0** [75.0, 85.0]",
        "<ins>85.0</ins>† [80.0, 90.0]",
    ]
    assert cells(text, "random-init", 0) == [
        "<ins>60.0</ins> [55.0, 65.0]",
        "**90.0** [85.0, 95.0]",
    ]
    assert cells(text, "moco-v2", 1) == [r"+20.0\*\* [+10.0, +30.0]", r"-5.0\*\* [-15.0, +5.0]"]
    assert cells(text, "random-init", 1) == ["", ""]
    assert "10 % are 2 and 6; 100 % are 20 and 60" in text
    assert "[10 %](labels-0.1/report.html), [100 %](labels-1/report.html)" in text


def test_slices_at_equal_depth_have_a_table_of_their_own_where_there_is_a_depth(curves):
    assert "AUC at depth" not in label_markdown(curves)
    budgets = []
    for budget in curves.budgets:
        rows = tuple(
            replace(
                row,
                cells=row.cells | {"auc-depth": Cell(Value(value=0.5 + budget.share / 10))},
                differences=row.differences
                | {"auc-depth": d.model_copy(update={"difference": -0.125, "low": -0.25})}
                if (d := row.differences.get("auc"))
                else row.differences,
            )
            if row.level == "slice"
            else row
            for row in budget.table.rows
        )
        table = replace(budget.table, rows=rows, metrics=("auc", "auc-depth"))
        budgets.append(replace(budget, table=table))
    deep = replace(curves, budgets=tuple(budgets))
    text = label_markdown(deep)
    assert cells(text, "moco-v2", 0) == cells(label_markdown(curves), "moco-v2", 0)
    assert cells(text, "moco-v2", 2) == ["51.0", "60.0"]
    assert [cell.split()[0] for cell in cells(text, "moco-v2", 3)] == [r"-12.5\*\*"] * 2
    assert "against normal slices of their depth" in text
    more = [r for r in label_records(deep) if r["metric"] == "auc-depth"]
    assert {(r["level"], r["labels"], r["value"]) for r in more} == {
        ("slice", 0.1, 51.0),
        ("slice", 1.0, 60.0),
    }


def test_the_numbers_have_every_level_and_share(curves):
    lines = list(csv.DictReader(io.StringIO(label_csv(curves))))
    assert [(x["labels"], x["level"], x["method"]) for x in lines] == [
        (share, level, name) for share in ("0.1", "1.0") for level in LEVELS for name in AUCS[0.1]
    ]
    for line in lines:
        auc = AUCS[float(line["labels"])]
        assert float(line["value"]) == pytest.approx(100 * auc[line["method"]])
        if line["method"] == "moco-v2":
            expected = 100 * (auc["moco-v2"] - auc["random-init"])
            assert float(line["difference"]) == pytest.approx(expected)
        assert line["labelled_normal"] == ("6" if line["labels"] == "0.1" else "60")
    found = json.loads(label_json(curves))
    assert found["records"] == label_records(curves)
    assert PHANTOM in found["title"]


def test_several_seeds_are_their_mean_and_spread(entry):
    aucs = (0.80, 0.86, 0.95)
    entries = [entry("a", auc, levels=LEVELS, seed=i) for i, auc in enumerate(aucs)]
    entries.append(entry("a", failure="no memory", seed=3))
    table = build_table("T", entries, phantom=False)
    curves = LabelCurves("T", False, (Budget(0.5, 4, 4, "labels-0.5", table),))
    text = label_markdown(curves)
    assert cells(text, "a (3 seeds, 1 failed)", 0) == ["87.0 ± 7.5"]
    assert PHANTOM not in text
    assert "mean ± standard deviation" in text
    assert "There is no baseline" in text
    spread = 100 * np.std(aucs, ddof=1)
    assert _points(curves, "a", 1.0) == [
        (0.5, pytest.approx(87), pytest.approx(87 - spread), pytest.approx(87 + spread))
    ]


def test_a_row_that_failed_says_why(entry):
    entries = [entry("a", 0.8, levels=LEVELS), entry("b", failure="no memory")]
    table = build_table("T", entries, phantom=False)
    text = label_markdown(LabelCurves("T", False, (Budget(0.5, 4, 4, "x", table),)))
    assert cells(text, "b", 0) == ["failed"]
    assert "b at 50 %: no memory." in text


def test_the_picture_draws_what_the_table_says(curves):
    assert [p[:2] for p in _points(curves, "moco-v2", 1.0)] == [
        (0.1, pytest.approx(80)),
        (1.0, pytest.approx(85)),
    ]
    svg = label_picture(curves, "svg").decode()
    for words in ("moco-v2", "random-init", PHANTOM, "10 %", "20 + 60", "AUC at slice level"):
        assert words in svg, words
    assert svg == label_picture(curves, "svg").decode()


def test_a_hostile_name_stays_text(entry, hostile, tmp_path):
    table = build_table("T", [entry(hostile, 0.8, levels=LEVELS)], phantom=False)
    curves = LabelCurves(hostile, False, (Budget(0.5, 4, 4, "x", table),))
    for path in write_label_curves(curves, tmp_path):
        if path.suffix in (".md", ".svg"):
            assert "<script" not in path.read_text()
    assert "\n=cmd" not in (tmp_path / "labels.csv").read_text()
