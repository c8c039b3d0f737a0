"""One benchmark for each share of the labels, in one store, and the overview of all of them.

Each is an ordinary run, ``NAME/labels-0.1`` for a tenth of the labels, with a table, comparisons and a report of its
own: rows of different shares are never ranked or subtracted. Pretraining is done once.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dbtssl.benchmark.keep_results import keep, refuse_failures
from dbtssl.benchmark.results.run_record import record_table
from dbtssl.benchmark.run_folders import run_folder
from dbtssl.engine.store import Store
from dbtssl.report.label_overview.label_curves_plot import write_label_curves
from dbtssl.report.label_overview.label_curves_text import Budget, LabelCurves

if TYPE_CHECKING:
    from pathlib import Path

    from dbtssl.benchmark.results.run_record import Record
    from dbtssl.benchmark.spec.specification import Spec


def benchmark_budgets(spec: Spec, out: Path, *, strict: bool = False) -> tuple[Record, ...]:
    """Run ``spec`` for every share of its labels, each into its own folder, with the overview of those done so far.

    Raises `PluginError` at the end where rows failed, as one benchmark does.
    """
    folder, store = run_folder(spec, out), Store(out / "store")
    records: list[Record] = []
    budgets: list[Budget] = []
    failures: dict[str, str] = {}
    error: Exception | None = None
    for share in spec.labels:
        name = budget_name(share)
        record, first = keep(
            spec.model_copy(update={"labels": (share,)}), out, folder / name, strict=strict
        )
        error = error or first
        failures |= {f"{name}: {row}": why for row, why in record.failures.items()}
        assert record.labels is not None, "the record is of this version"
        known = record.labels.model_dump(include={"share", "abnormal", "normal"})
        records.append(record)
        budgets.append(Budget(**known, folder=name, table=record_table(record, store)))
        curves = LabelCurves(spec.title or spec.name, record.phantom, tuple(budgets))
        written = write_label_curves(curves, folder)
        print(f"labels: {', '.join(str(path) for path in written)}", file=sys.stderr)
    refuse_failures(failures, sum(len(record.rows) for record in records), error)
    return tuple(records)


def budget_name(share: float) -> str:
    """The folder of a share: ``labels-0.1``, and ``labels-1`` for all."""
    return f"labels-{repr(share).removesuffix('.0')}"
