"""From the scores of a run to its table: lines, means over seeds, ranks, differences, notes.

entry = Entry(method="sift-dbt", backbone="resnet18", finetuner="discriminative", seed=0,
              score=Score.from_json(text), epochs_done=3, epochs_planned=4000, reported=method.reported)
table = build_table("Quick benchmark", [entry, ...], phantom=True)
print_table(table)                       # writers.terminal
write_table(table, folder)               # writers.write_table: table.md, .tex, .csv, .parquet, .json, .txt
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dbtssl.evaluation.catalogue import CATALOGUE, DEFAULT
from dbtssl.evaluation.quantity import EQUAL_DECIMALS
from dbtssl.evaluation.values import Value
from dbtssl.report.notes import comparable, table_notes
from dbtssl.report.probe_lines import frozen_lines
from dbtssl.report.row_differences import differences
from dbtssl.report.table_model import LEVELS, PHANTOM, RANKS, Cell, Compared, Table, TableRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dbtssl.evaluation.comparison.compare_methods import Difference
    from dbtssl.evaluation.values import Row, Score
    from dbtssl.report.row_differences import Unlike
    from dbtssl.report.table_model import Entry, Group, Rank, TiedMethod


def build_table(
    title: str,
    entries: Sequence[Entry],
    *,
    phantom: bool,
    evaluation_sets: Mapping[str, str] | None = None,
    compared: Compared | None = None,
) -> Table:
    """The table of ``entries``, in their order, with shortcut rows and all-normal once for each evaluation set.

    ``phantom`` puts a warning into the title. ``evaluation_sets`` names evaluation sets by their hash; a paper's number
    is shown only beside a set of the name that the paper's row was measured on. ``compared`` gives the differences.
    """
    names = dict(evaluation_sets or {})
    compared = compared or Compared()
    rows: dict[Group, list[TableRow]] = {}
    references: dict[Group, dict[str, TableRow]] = {}
    for entry in entries:
        if entry.score is None:
            continue
        for row in entry.score.rows:
            line = _line(entry, entry.score, row, names)
            if row.kind == "method":
                rows.setdefault(line.group, []).append(line)
            else:
                references.setdefault(line.group, {}).setdefault(line.method, line)
    for entry in entries:
        for scored in rows.values():
            level = scored[0].level
            if not scored[0].subgroup and (entry.score is None or level in entry.missing):
                scored.append(_failed(entry, scored[0]))
    unlike = _unlike(entries, compared.baseline)
    order = sorted(rows, key=lambda group: (LEVELS.index(group[0]), bool(group[1])))
    lines: list[TableRow] = []
    for group in order:
        lines += _compared(_ranked(_with_means(rows[group])), compared, unlike)
        lines += references.get(group, {}).values()
    lines += _ranked(_with_means(frozen_lines(entries)))
    present = {metric for line in lines for metric in line.cells}
    return Table(
        title=f"{title} ({PHANTOM})" if phantom else title,
        rows=tuple(lines),
        notes=(*table_notes(entries, lines, names, compared), *compared.notes),
        metrics=tuple(m for m in CATALOGUE if m in present) or DEFAULT,
        baseline=compared.baseline,
    )


def _line(entry: Entry, score: Score, row: Row, names: Mapping[str, str]) -> TableRow:
    """One row of a score as one line of the table, not yet ranked."""
    protocol = score.protocol
    line = TableRow(
        kind=row.kind,
        method=row.name,
        level=row.level,
        subgroup=row.subgroup,
        cells={name: Cell(value) for name, value in row.values.items()},
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
    source = f"{paper.source}, protocol {paper.protocol} on {paper.evaluation_set}" if paper else ""
    return replace(line, cells=cells, paper_source=source, **_run(entry))


def _failed(entry: Entry, beside: TableRow) -> TableRow:
    """The line of a run without a score, in the group of ``beside``: every cell is empty."""
    return TableRow(
        kind="method",
        level=beside.level,
        cells={name: Cell(Value(reason="the run failed")) for name in beside.cells},
        protocol=beside.protocol,
        protocol_digest=beside.protocol_digest,
        evaluation_set=beside.evaluation_set,
        diagnostic=beside.diagnostic,
        failure=entry.failure or entry.missing.get(beside.level, "the run failed"),
        hint=entry.hint,
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
        "warnings": entry.warnings,
    }


def _with_means(lines: Sequence[TableRow]) -> list[TableRow]:
    """The lines by method; a method of several seeds begins with their mean."""
    methods: dict[tuple[str, str, str], list[TableRow]] = {}
    for line in lines:
        methods.setdefault((line.method, line.backbone, line.finetuner), []).append(line)
    out: list[TableRow] = []
    for seeds in methods.values():
        if len(seeds) > 1:
            out.append(_mean(seeds))
            seeds = [replace(line, single=True) for line in seeds]
        out += seeds
    return out


def _mean(seeds: Sequence[TableRow]) -> TableRow:
    """The mean over the seeds that have a score; a metric that one of them lacks has none."""
    scored = [line for line in seeds if not line.failure]
    first = scored[0] if scored else seeds[0]
    cells = {}
    for name, cell in first.cells.items():
        values = [line.cells[name].value.value if name in line.cells else None for line in scored]
        known = [v for v in values if v is not None]
        if known and len(known) == len(values):
            sd = float(np.std(known, ddof=1)) if len(known) > 1 else None
            cells[name] = Cell(Value(value=float(np.mean(known))), paper=cell.paper, sd=sd)
        else:
            reason = next(
                (x.cells[name].value.reason for x in scored if x.cells[name].value.value is None),
                "every seed failed",
            )
            cells[name] = Cell(Value(reason=reason))
    return replace(
        first,
        cells=cells,
        seed=None,
        seeds=tuple(line.seed for line in scored if line.seed is not None),
        failed_seeds=tuple(x.seed for x in seeds if x.failure and x.seed is not None),
        threshold=None,
        tp=None,
        fp=None,
        tn=None,
        fn=None,
        failure="" if scored else first.failure,
        warnings=tuple(dict.fromkeys(w for line in scored for w in line.warnings)),
    )


def _ranked(lines: Sequence[TableRow]) -> list[TableRow]:
    """Mark the best and the second value of each metric; where all are equal, or diagnostic, there is no best.

    Values that differ by rounding alone share a mark.
    """
    out = list(lines)
    if any(line.diagnostic for line in out):
        return out
    for name, metric in CATALOGUE.items():
        if not metric.direction:
            continue
        values = [
            _settled(line.cells[name].value.value)
            if name in line.cells and not line.single
            else None
            for line in out
        ]
        known = {value for value in values if value is not None}
        distinct = sorted(known, reverse=metric.direction == "higher")
        if len(distinct) < 2:
            continue
        places: dict[float, Rank] = dict(zip(distinct, RANKS, strict=False))
        for i, value in enumerate(values):
            if value is not None and (rank := places.get(value)):
                out[i] = _marked(out[i], name, rank=rank)
    return out


def _settled(value: float | None) -> float | None:
    return None if value is None else round(value, EQUAL_DECIMALS)


def _unlike(entries: Sequence[Entry], baseline: str) -> dict[str, Unlike]:
    """What each method differs in from the baseline beside the method itself."""
    made = {entry.method: entry.made_under for entry in entries if entry.score}
    if baseline not in made:
        return {}
    return {name: differences(row, made[baseline]) for name, row in made.items()}


def _compared(
    lines: Sequence[TableRow], compared: Compared, unlike: Mapping[str, Unlike]
) -> list[TableRow]:
    """Put the differences to the baseline beside the methods, and mark what cannot be distinguished from the best.

    A difference that is not the method's alone keeps no p value.
    """
    out = []
    for line in lines:
        other = unlike.get(line.method, {}) if line.kind == "method" else {}
        untested = {"p": None, "p_holm": None} if other else {}
        ours = [d.model_copy(update=untested) for d in compared.differences if _is_of(d, line)]
        line = replace(line, differences={d.metric: d for d in ours}, unlike=other)
        for tie in compared.ties:
            if _is_of(tie, line) and tie.metric in line.cells:
                line = _marked(line, tie.metric, tied=True)
        out.append(line)
    return out


def _is_of(found: Difference | TiedMethod, line: TableRow) -> bool:
    """Whether it is of the line: a method's mean, or its only seed, over all units."""
    return (
        line.kind == "method"
        and not line.single
        and not line.subgroup
        and (found.method, found.level, found.evaluation_set)
        == (line.method, line.level, line.evaluation_set)
    )


def _marked(line: TableRow, name: str, **change: Any) -> TableRow:
    return replace(line, cells={**line.cells, name: replace(line.cells[name], **change)})
