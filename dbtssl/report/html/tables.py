"""The lines of a table as the page's template writes them: texts, sorting keys and classes; no markup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtssl.evaluation.catalogue import CATALOGUE
from dbtssl.report.cells import (
    below_text,
    clean,
    difference_interval,
    difference_text,
    epochs_text,
    heading_text,
    interval_text,
    p_text,
    paper_text,
    seed_text,
    stars_text,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dbtssl.evaluation.audit import Finding
    from dbtssl.report.table import Table, TableRow


@dataclass(frozen=True)
class HtmlCell:
    """``text`` with a smaller line ``below``; ``key`` sorts (empty: last), ``title`` is shown on hovering."""

    text: str = ""
    below: str = ""
    key: str = ""
    classes: str = ""
    title: str = ""


@dataclass(frozen=True)
class HtmlRow:
    """One line; ``colour`` is the number of the method's colour, None for a reference."""

    cells: tuple[HtmlCell, ...]
    classes: str
    colour: int | None


@dataclass(frozen=True)
class HtmlTable:
    """One group of rows that may be ranked together. ``columns`` are (heading, explanation)."""

    ident: str
    heading: str
    level: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[HtmlRow, ...]


def html_tables(
    table: Table, metrics: Sequence[str], colours: Mapping[str, int]
) -> tuple[HtmlTable, ...]:
    """One table for each group of rows."""
    out = []
    for number, rows in enumerate(table.groups().values()):
        shown = [m for m in metrics if any(m in row.cells for row in rows)]
        columns = [("method", "encoder and fine-tuning below"), ("seed", "")]
        columns += [("epochs", "pretraining epochs done of those of the method's own schedule")]
        columns += [(CATALOGUE[m].label, CATALOGUE[m].meaning) for m in shown]
        differs = any("auc" in row.differences for row in rows)
        if differs:
            what = f"difference of AUC to {clean(table.baseline)} in points, paired by patient"
            columns.append(("ΔAUC", what))
        paper = any(paper_text(row) for row in rows)
        if paper:
            columns.append(("paper AUC", "as printed in the method's paper"))
        shared = next((row for row in rows if row.n_pos is not None), rows[0])
        out.append(
            HtmlTable(
                ident=f"table-{number}",
                heading=heading_text(shared),
                level=shared.level,
                columns=tuple(columns),
                rows=tuple(_row(row, shown, differs, paper, colours) for row in rows),
            )
        )
    return tuple(out)


def _row(
    row: TableRow, metrics: Sequence[str], differs: bool, paper: bool, colours: Mapping[str, int]
) -> HtmlRow:
    below = ", ".join(clean(part) for part in (row.backbone, row.finetuner) if part)
    name = clean(row.method)
    cells = [
        HtmlCell(name, "" if row.single else below, key=name.lower(), classes="name"),
        HtmlCell(seed_text(row), key=seed_text(row)),
        HtmlCell(
            epochs_text(row),
            key="" if row.epochs_done is None else f"{row.epochs_done}",
            classes="short" if row.undertrained else "",
            title="fewer epochs than the method's own schedule" if row.undertrained else "",
        ),
    ]
    cells += [_metric(row, metric) for metric in metrics]
    if differs:
        cells.append(_difference(row))
    if paper:
        key = "" if row.cells["auc"].paper is None else f"{row.cells['auc'].paper}"
        cells.append(HtmlCell(paper_text(row), key=key, title=row.paper_source))
    classes = [row.kind, "single" if row.single else "", "mean" if row.seeds else ""]
    if row.failure:
        classes.append("failed")
        cells[1] = HtmlCell(
            f"{seed_text(row)} failed", key=seed_text(row), title=clean(row.failure)
        )
    colour = colours.get(row.method) if row.kind == "method" else None
    return HtmlRow(tuple(cells), " ".join(filter(None, classes)), colour)


def _metric(row: TableRow, metric: str) -> HtmlCell:
    cell = row.cells.get(metric)
    if cell is None:
        return HtmlCell()
    value = cell.value.value
    classes = " ".join(filter(None, (cell.rank, "tied" if cell.tied else "")))
    title = "cannot be told apart from the best" if cell.tied else cell.value.reason
    return HtmlCell(
        value_text(metric, cell.value),
        below_text(metric, cell),
        key="" if value is None else f"{value:.9g}",
        classes=classes,
        title=title,
    )


def _difference(row: TableRow) -> HtmlCell:
    d = row.differences.get("auc")
    if d is None or d.difference is None:
        return HtmlCell(title="" if d is None else d.reason)
    p = p_text(d.p_holm)
    return HtmlCell(
        difference_text(d) + stars_text(d),
        difference_interval(d),
        key=f"{d.difference:.9g}",
        title=f"p {p}, Holm-corrected" if p else d.reason,
    )


def audit_rows(findings: Sequence[Finding]) -> list[HtmlRow]:
    """The findings of an audit: feature, AUC with interval, what counts as a sign, in words."""
    from dbtssl.report.audit import sentence

    out = []
    for f in findings:
        auc = f.auc
        key = "" if auc.value is None else f"{auc.value:.9g}"
        cells = (
            HtmlCell(f.feature, key=f.feature, classes="name"),
            HtmlCell(value_text("auc", auc), interval_text("auc", auc), key=key),
            HtmlCell(f.score, key=f.score),
            HtmlCell(sentence(f)),
        )
        strong = "found" if f.excludes_chance else ""
        out.append(HtmlRow(cells, strong, None))
    return out
