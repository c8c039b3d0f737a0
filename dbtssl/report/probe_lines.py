"""The lines of the tasks of frozen features: a group of its own below the detection, a line for each encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.evaluation.values import Value
from dbtssl.report.table_model import FROZEN, Cell, TableRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtssl.evaluation.probes.frozen_probes import FrozenTasks
    from dbtssl.report.table_model import Entry


def frozen_lines(entries: Sequence[Entry]) -> list[TableRow]:
    """One line for each method, encoder and seed, not yet ranked; rows that share it are told once.

    A run that failed has an empty line, as in the other groups. No lines where no entry was asked for tasks.
    """
    known = next((entry.frozen for entry in entries if entry.frozen), None)
    if known is None:
        return []
    lines: dict[tuple[str, str, int], TableRow] = {}
    for entry in entries:
        if entry.frozen or entry.score is None:
            key = (entry.method, entry.backbone, entry.seed)
            lines.setdefault(key, _line(entry, entry.frozen, known))
    return list(lines.values())


def _line(entry: Entry, frozen: FrozenTasks | None, known: FrozenTasks) -> TableRow:
    missing = Value(reason="the run failed")
    values = dict.fromkeys(known.values, missing) if frozen is None else frozen.values
    about = frozen or known
    return TableRow(
        kind="method",
        method=entry.method,
        level="volume",
        cells={name: Cell(value) for name, value in values.items()},
        protocol=FROZEN,
        protocol_digest=about.rule,
        evaluation_set=about.evaluation_set,
        frozen=True,
        n_patients=about.n_patients,
        backbone=entry.backbone,
        seed=entry.seed,
        epochs_done=entry.epochs_done,
        epochs_planned=entry.epochs_planned,
        failure="" if frozen else entry.failure or "the run failed",
        hint="" if frozen else entry.hint,
        warnings=entry.warnings,
    )
