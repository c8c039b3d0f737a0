"""``dbtssl data tables``: what the published tables hold, without any image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from rich.console import Console

    from dbtssl.data.splits.table_counts import Row, Survey

SHOWN = (
    *("patients", "studies", "volumes", "normal", "actionable", "benign", "cancer", "abnormal"),
    *("boxes", "box_volumes", "benign_boxes", "cancer_boxes", "distortions"),
)


@click.command(
    name="tables",
    epilog="Example: dbtssl data tables /data/BCS-DBT --split-from /data/SIFT-DBT/csv",
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--split-from",
    "lists",
    metavar="LISTS",
    help="Count by the lists in this folder as well: SIFT-DBT's, or official:FOLDER.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(folder: Path, lists: str | None, as_json: bool) -> None:
    """Count patients, studies, volumes, labels and boxes in the tables below FOLDER, beside the published counts.

    No image is needed. Tables may be missing; they are named.
    """
    from dbtssl.data.splits.table_counts import survey

    found = survey(folder, lists)
    if as_json:
        click.echo(json.dumps(_plain(found), indent=2))
    else:
        _print(folder, found)


def _plain(survey: Survey) -> dict[str, Any]:
    return {
        "files": [
            {"kind": kind, "split": split, "file": str(path)}
            for (kind, split), path in sorted(survey.files.items())
        ],
        "missing": [{"kind": kind, "split": split} for kind, split in survey.missing],
        "splits": [_plain_row(row) for row in survey.splits],
        "unlabelled": survey.unlabelled,
        "pathless": survey.pathless,
        "lists": survey.lists or None,
        "parts": [_plain_row(row) for row in survey.parts],
        "unlisted": survey.unlisted if survey.lists else None,
    }


def _plain_row(row: Row) -> dict[str, Any]:
    from dbtssl.data.tables.published_counts import differences

    return {
        "split": row.split,
        "actionable_dropped": row.dropped,
        "found": row.found,
        "published": row.published,
        "differences": differences(row.found, row.published),
    }


def _print(folder: Path, survey: Survey) -> None:
    from rich.console import Console

    console = Console()
    _show(console, f"tables below {folder}", survey.splits)
    for dropped, actionable in ((False, "with Actionable"), (True, "Actionable dropped")):
        rows = tuple(row for row in survey.parts if row.dropped == dropped)
        if rows:
            _show(console, f"by the lists of {survey.lists}, {actionable}", rows)
    for line in _remarks(survey):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _show(console: Console, title: str, rows: tuple[Row, ...]) -> None:
    """A line a count and two columns a split: what was found, and what was published."""
    from rich.table import Table

    console.print(title, soft_wrap=True, highlight=False, markup=False)
    table = Table(box=None, pad_edge=False)  # three splits fit into 80 columns
    table.add_column("", no_wrap=True)
    for row in rows:
        table.add_column(row.split, justify="right")
        table.add_column("published", justify="right", style="dim")
    for name in SHOWN:
        pairs = [(row.found.get(name), row.published.get(name)) for row in rows]
        if any(found is not None for found, _ in pairs):
            table.add_row(name.replace("_", " "), *(_cell(n) for pair in pairs for n in pair))
    console.print(table)
    console.print()


def _cell(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _remarks(survey: Survey) -> list[str]:
    """What a reader must know beside the counts, one sentence a line."""
    from dbtssl.data.tables.published_counts import differences

    lines = []
    if survey.missing:
        names = ", ".join(f"{kind} of {split}" for kind, split in survey.missing)
        lines.append(f"missing tables: {names}")
    other = [
        row for row in (*survey.splits, *survey.parts) if differences(row.found, row.published)
    ]
    for row in other:
        pairs = differences(row.found, row.published).items()
        shown = ", ".join(
            f"{name.replace('_', ' ')} {pair['found']:,} for {pair['published']:,}"
            for name, pair in pairs
        )
        name = f"{row.split} without actionable" if row.dropped else row.split
        lines.append(f"{name} is not as published: {shown}")
    if not other:
        lines.append("every count that the tables state and that was published is the same")
    if survey.unlabelled:
        lines.append(f"{survey.unlabelled:,} volumes have a path and no label")
    if survey.pathless:
        lines.append(f"{survey.pathless:,} volumes have a label and no path")
    if survey.unlisted:
        lines.append(f"{survey.unlisted:,} labelled volumes are in no list")
    return lines
