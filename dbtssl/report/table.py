"""The table: one object, made here, that every rendering shows.

    entry = Entry(method="sift-dbt", backbone="resnet18", finetuner="discriminative", seed=0,
                  score=Score.from_json(text), epochs_done=3, epochs_planned=4000, reported=method.reported)
    table = build_table("Quick benchmark", [entry, ...], phantom=True)
    print_table(table)                       # dbtssl.report.terminal
    write_table(table, folder)               # dbtssl.report.write: table.md, table.csv, table.json, table.txt

Rows are ranked only against rows of the same level, protocol and evaluation set. A paper's number stands beside ours
only where its protocol and evaluation set are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from dbtssl.evaluation.metrics import METRICS
from dbtssl.evaluation.values import Value
from dbtssl.interfaces import Level
from dbtssl.report.notes import table_notes
from dbtssl.report.paper import comparable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dbtssl.evaluation.values import Kind, Row, Score
    from dbtssl.interfaces import Reported

PHANTOM = "phantom, not patients"
LEVELS: tuple[Level, ...] = get_args(Level)
Rank = Literal["best", "second", ""]
RANKS: tuple[Rank, Rank] = ("best", "second")
Group = tuple[Level, str, str]


@dataclass(frozen=True)
class Entry:
    """One run of one method. ``score`` is None for a run that failed; ``failure`` then says why.

    ``epochs_done`` and ``epochs_planned`` count pretraining: what was run, and the method's own schedule; None without
    pretraining.
    """

    method: str
    backbone: str
    finetuner: str
    seed: int
    score: Score | None
    epochs_done: int | None = None
    epochs_planned: int | None = None
    reported: tuple[Reported, ...] = ()
    failure: str = ""


@dataclass(frozen=True)
class Cell:
    """A metric of a row. ``paper`` is the paper's number in percent; None where it cannot be compared."""

    value: Value
    rank: Rank = ""
    paper: float | None = None


@dataclass(frozen=True)
class TableRow:
    """One line. References (shortcuts and rules) have no backbone, fine-tuning, seed or epochs."""

    kind: Kind
    method: str
    level: Level
    cells: dict[str, Cell]
    backbone: str = ""
    finetuner: str = ""
    seed: int | None = None
    epochs_done: int | None = None
    epochs_planned: int | None = None
    n_pos: int | None = None
    n_neg: int | None = None
    n_pos_patients: int | None = None
    n_patients: int | None = None
    threshold: float | None = None
    tp: int | None = None
    fp: int | None = None
    tn: int | None = None
    fn: int | None = None
    protocol: str = ""
    protocol_digest: str = ""
    evaluation_set: str = ""
    diagnostic: bool = False
    failure: str = ""

    @property
    def group(self) -> Group:
        """Rows of one group may be ranked together."""
        return self.level, self.protocol_digest, self.evaluation_set

    @property
    def undertrained(self) -> bool:
        """Fewer epochs than the method's own schedule."""
        done, planned = self.epochs_done, self.epochs_planned
        return done is not None and planned is not None and done < planned


@dataclass(frozen=True)
class Table:
    """Title, rows in order of level (methods, then shortcuts, then rules), and the notes below."""

    title: str
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...]
    metrics: tuple[str, ...] = METRICS

    def groups(self) -> dict[Group, tuple[TableRow, ...]]:
        """Rows by level, protocol and evaluation set, in order."""
        out: dict[Group, list[TableRow]] = {}
        for row in self.rows:
            out.setdefault(row.group, []).append(row)
        return {group: tuple(rows) for group, rows in out.items()}


def build_table(
    title: str,
    entries: Sequence[Entry],
    *,
    phantom: bool,
    evaluation_sets: Mapping[str, str] | None = None,
) -> Table:
    """The table of ``entries``, in their order, with shortcut rows and all-normal once for each evaluation set.

    ``phantom`` puts a warning into the title. ``evaluation_sets`` names evaluation sets by their hash; a paper's number
    is shown only beside a set of the name that the paper's row was measured on.
    """
    names = dict(evaluation_sets or {})
    rows: dict[Group, list[TableRow]] = {}
    references: dict[Group, dict[str, TableRow]] = {}
    for entry in entries:
        if entry.score is None:
            continue
        for row in entry.score.rows:
            if row.subgroup:
                continue  # they are in score.json
            line = _line(entry, entry.score, row, names)
            if row.kind == "method":
                rows.setdefault(line.group, []).append(line)
            else:
                references.setdefault(line.group, {}).setdefault(line.method, line)
    for entry in entries:
        if entry.score is None:
            for scored in rows.values():
                scored.append(_failed(entry, scored[0]))
    order = sorted(rows, key=lambda group: LEVELS.index(group[0]))
    lines = [line for g in order for line in (*_ranked(rows[g]), *references[g].values())]
    return Table(
        title=f"{title} ({PHANTOM})" if phantom else title,
        rows=tuple(lines),
        notes=table_notes(entries, lines, names),
    )


def _line(entry: Entry, score: Score, row: Row, names: Mapping[str, str]) -> TableRow:
    """One row of a score as one line of the table, not yet ranked."""
    protocol = score.protocol
    line = TableRow(
        kind=row.kind,
        method=row.name,
        level=row.level,
        cells={name: Cell(row.values[name]) for name in METRICS},
        n_pos=row.n_pos,
        n_neg=row.n_neg,
        n_pos_patients=row.n_pos_patients,
        n_patients=row.n_patients,
        threshold=row.threshold,
        tp=row.tp,
        fp=row.fp,
        tn=row.tn,
        fn=row.fn,
        protocol=f"{protocol.name} {protocol.version}",
        protocol_digest=protocol.digest,
        evaluation_set=row.evaluation_set,
        diagnostic=row.diagnostic,
    )
    if row.kind != "method":
        return line
    paper = comparable(entry, row.level, names.get(row.evaluation_set, ""))
    cells = {
        name: replace(cell, paper=paper.values.get(name) if paper else None)
        for name, cell in line.cells.items()
    }
    return replace(line, cells=cells, **_run(entry))


def _failed(entry: Entry, beside: TableRow) -> TableRow:
    """The line of a run without a score, in the group of ``beside``: every cell is empty."""
    return TableRow(
        kind="method",
        level=beside.level,
        cells={name: Cell(Value(reason="the run failed")) for name in METRICS},
        protocol=beside.protocol,
        protocol_digest=beside.protocol_digest,
        evaluation_set=beside.evaluation_set,
        diagnostic=beside.diagnostic,
        failure=entry.failure or "the run failed",
        **_run(entry),
    )


def _run(entry: Entry) -> dict[str, Any]:
    return {
        "method": entry.method,
        "backbone": entry.backbone,
        "finetuner": entry.finetuner,
        "seed": entry.seed,
        "epochs_done": entry.epochs_done,
        "epochs_planned": entry.epochs_planned,
    }


def _ranked(lines: Sequence[TableRow]) -> list[TableRow]:
    """Mark the best and the second value of each metric; where all are equal, or in a diagnostic, there is no best."""
    out = list(lines)
    if any(line.diagnostic for line in out):
        return out
    for name in METRICS:
        values = [line.cells[name].value.value for line in out]
        distinct = sorted({value for value in values if value is not None}, reverse=True)
        if len(distinct) < 2:
            continue
        places: dict[float, Rank] = dict(zip(distinct, RANKS, strict=False))
        for i, value in enumerate(values):
            rank = places.get(value, "") if value is not None else ""
            cells = out[i].cells | {name: replace(out[i].cells[name], rank=rank)}
            out[i] = replace(out[i], cells=cells)
    return out
