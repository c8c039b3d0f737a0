"""The overview of several fractions of the labels: AUC by method and fraction, in words, in numbers and as a picture.

Beside the AUC of slices as they are it has that of slices at equal depth.

It takes what the table of each fraction says: values with intervals, or mean and standard deviation over seeds, and the
paired difference to the baseline of the same fraction. Nothing is compared across fractions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from dbtssl.evaluation.catalogue import AT_DEPTH, CATALOGUE
from dbtssl.report.row_differences import difference_notes
from dbtssl.report.table_cells import (
    WARNED,
    below_text,
    clean,
    difference_interval,
    difference_text,
    mark_text,
    seed_text,
    value_text,
)
from dbtssl.report.table_model import PHANTOM
from dbtssl.report.writers.markdown import MARK, TIED, escape
from dbtssl.report.writers.tidy import FIELDS, csv_text, records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dbtssl.interfaces import Level
    from dbtssl.report.table_model import Table, TableRow

METRIC = "auc"
METRICS = (METRIC, AT_DEPTH)
SHOWN: Level = "slice"  # the level of the words and of the picture; the numbers have all levels
LABELS = ("labels", "labelled_abnormal", "labelled_normal")


@dataclass(frozen=True)
class Budget:
    """One fraction of the labels: the patients that had them, the folder of its run, and its table."""

    share: float
    abnormal: int
    normal: int
    folder: str
    table: Table

    @property
    def name(self) -> str:
        """``10 %``."""
        return f"{100 * self.share:g} %"

    def lines(self, level: Level) -> dict[str, TableRow]:
        """The line of each method: its only run, or the mean over its seeds."""
        return {
            clean(row.method): row
            for row in self.table.rows
            if row.kind == "method" and row.level == level and not (row.single or row.subgroup)
        }


@dataclass(frozen=True)
class LabelCurves:
    """All fractions of a benchmark, in any order; ``phantom`` puts a warning into the heading."""

    title: str
    phantom: bool
    budgets: tuple[Budget, ...]

    @property
    def heading(self) -> str:
        """What every rendering is called."""
        phantom = f" ({PHANTOM})" if self.phantom else ""
        return f"{clean(self.title)}: AUC by fraction of the labels{phantom}"

    @property
    def rising(self) -> list[Budget]:
        """From the smallest fraction to the largest."""
        return sorted(self.budgets, key=lambda budget: budget.share)

    @property
    def baseline(self) -> str:
        """The row that the others are compared with; empty where no fraction has it."""
        return next((b.table.baseline for b in self.budgets if b.table.baseline), "")

    def notes(self) -> Iterator[str]:
        """What every rendering says below."""
        rows = [row for budget in self.budgets for row in budget.lines(SHOWN).values()]
        yield (
            "A fraction is of the training patients whose labels fine-tuning received, of abnormal and of normal ones: "
            + "; ".join(f"{b.name} are {b.abnormal:,} and {b.normal:,}" for b in self.rising)
            + ". They are the same for every method, others for each seed, and those of a smaller fraction are among "
            "those of a larger one. Pretraining saw all training volumes; validation is whole and chooses epoch and "
            "threshold."
        )
        if any(row.seeds for row in rows):
            yield (
                "Several seeds: mean ± standard deviation over the seeds that finished, each with a draw of its own."
            )
        if any(not row.seeds and not row.failure for row in rows):
            yield "One seed: the interval is over test patients, of this one draw of labels."
        yield (
            "Methods are ranked and compared within a fraction only: bold is the best, underlined the second, † cannot "
            "be distinguished from the best."
        )
        if any(_has(row, AT_DEPTH) for row in rows):
            yield f"{CATALOGUE[AT_DEPTH].label}: {CATALOGUE[AT_DEPTH].meaning}."
        if baseline := self.baseline:
            yield (
                f"A difference (Δ) is that to {baseline} with the same labels on the same test patients, in points, "
                "with its interval. Stars are Holm-corrected over the methods of a fraction: * p < 0.05, ** p < 0.01, "
                "*** p < 0.001."
            )
            lines = [line for budget in self.rising for line in budget.lines(SHOWN).items()]
            yield from difference_notes(
                {name: row.unlike for name, row in lines}, baseline, marked=True
            )
        else:
            yield "There is no baseline among the rows, so there are no differences."
        warned: dict[str, dict[str, None]] = {}
        for row in rows:
            for warning in row.warnings:
                warned.setdefault(warning, {})[clean(row.method)] = None
        for warning, names in warned.items():
            yield f"{WARNED} {', '.join(names)}: {warning.rstrip('.')}."
        reasons: dict[str, dict[str, list[str]]] = {}
        for budget in self.rising:
            for name, row in budget.lines(SHOWN).items():
                found = row.differences.get(METRIC)
                missing = row.failure or row.cells[METRIC].value.reason
                if reason := missing or (found.reason if found else ""):
                    reasons.setdefault(reason.rstrip("."), {}).setdefault(budget.name, []).append(
                        name
                    )
        for reason, places in reasons.items():
            where = "; ".join(f"{', '.join(names)} at {share}" for share, names in places.items())
            yield f"Something is missing of {where}: {reason}."


def label_records(curves: LabelCurves) -> list[dict[str, Any]]:
    """The tidy records of both AUCs per method, level and fraction, with the fraction and its patients in front."""
    return [
        dict(zip(LABELS, (budget.share, budget.abnormal, budget.normal), strict=True)) | record
        for budget in curves.rising
        for record in records(budget.table)
        if record["metric"] in METRICS
        and record["kind"] == "method"
        and not record["subgroup"]
        and (record["metric"] == METRIC or record["value"] is not None)
    ]


def label_csv(curves: LabelCurves) -> str:
    """CSV text with a header; fractions of units in percent, as in ``table.csv``. Empty is missing."""
    return csv_text(label_records(curves), (*LABELS, *FIELDS))


def label_json(curves: LabelCurves) -> str:
    """JSON text that ends in a newline: title, notes, and the same records."""
    content = {
        "title": curves.heading,
        "notes": list(curves.notes()),
        "records": label_records(curves),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def label_markdown(curves: LabelCurves) -> str:
    """Methods down, shares across: each AUC at slice level and its differences, then the runs."""
    parts = [f"## {escape(curves.heading)}", f"![{escape(curves.heading)}](labels.png)"]
    lines = [line for budget in curves.budgets for line in budget.lines(SHOWN).values()]
    for metric in METRICS:
        if not any(_has(line, metric) for line in lines):
            continue
        label = CATALOGUE[metric].label
        parts += [f"### {label}, {SHOWN} level", _grid(curves, partial(_value, metric))]
        if any(metric in line.differences for line in lines):
            heading = f"### Δ{label} to {escape(curves.baseline)}"
            parts += [heading, _grid(curves, partial(_delta, metric))]
    parts.append("\n".join(f"* {escape(note)}" for note in curves.notes()))
    runs = ", ".join(f"[{b.name}]({b.folder}/report.html)" for b in curves.rising)
    parts.append(f"Table and report of each fraction: {runs}.")
    return "\n\n".join(parts) + "\n"


def _has(row: TableRow, metric: str) -> bool:
    return metric in row.cells and row.cells[metric].value.value is not None


def _grid(curves: LabelCurves, text: Callable[[TableRow], str]) -> str:
    columns = [budget.lines(SHOWN) for budget in curves.rising]
    heads = [f"{b.name} ({b.abnormal:,} + {b.normal:,})" for b in curves.rising]
    lines = [["method", *heads], [":--", *["--:"] * len(heads)]]
    for name in dict.fromkeys(name for column in columns for name in column):
        seeds = dict.fromkeys(seed_text(c[name]) for c in columns if name in c and c[name].seeds)
        said = f" ({', '.join(seeds)})" if seeds else ""
        cells = [text(column[name]) if name in column else "" for column in columns]
        mark = f" {WARNED}" if any(c[name].warnings for c in columns if name in c) else ""
        lines.append([escape(name + mark + said), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _value(metric: str, row: TableRow) -> str:
    cell = row.cells[metric]
    if cell.value.value is None:
        return "failed" if row.failure else ""
    marked = MARK[cell.rank].format(value_text(metric, cell.value)) + (TIED if cell.tied else "")
    return f"{marked} {below_text(metric, cell)}".rstrip()


def _delta(metric: str, row: TableRow) -> str:
    found = row.differences.get(metric)
    text = f"{difference_text(found)}{escape(mark_text(found, row))} {difference_interval(found)}"
    return text.strip()
