"""What a user keeps of a run: the table on the screen and in files, and the record beside it."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from dbtssl.benchmark.resolve import BrokenRow
from dbtssl.benchmark.results.environment import run_environment
from dbtssl.benchmark.results.finished_run import PAGE, Run
from dbtssl.benchmark.results.provenance import components, made_with
from dbtssl.benchmark.results.run_record import (
    LabelRecord,
    Record,
    RowRecord,
    StageRecord,
    code_digest,
    recall,
    record_table,
    write_record,
)
from dbtssl.benchmark.row_conditions import conditions, refuse_unlike
from dbtssl.benchmark.run_folders import replaced_rows, run_folder
from dbtssl.benchmark.stages.context import Context, stage_label
from dbtssl.config import result_fields
from dbtssl.engine.store import Store
from dbtssl.errors import PluginError
from dbtssl.io import write_bytes
from dbtssl.plugins.registry import registry
from dbtssl.report.query import screen
from dbtssl.report.writers.terminal import print_table
from dbtssl.report.writers.write_table import write_table
from dbtssl.training.monitors.monitor_config import PLOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dbtssl.benchmark.run import Outcome, RowOutcome
    from dbtssl.benchmark.spec.specification import Spec


OF_LEVELS = re.compile(
    r" \([a-z, ]+ level\)$"
)  # the end of a failure's name that is not of a whole row


def benchmark(spec: Spec, out: Path, *, strict: bool = False) -> Record:
    """Run ``spec``, or find it done; print the table and write it below ``out`` (`run_folder`).

    Raises `PluginError` at the end where a row failed, so that a script sees it; the other rows are kept. With
    ``strict``, raises `ConfigError` where rows differ in more than the method.
    """
    record, error = keep(spec, out, run_folder(spec, out), strict=strict)
    refuse_failures(record.failures, len(record.rows), error)
    return record


def keep(
    spec: Spec, out: Path, folder: Path, *, strict: bool = False
) -> tuple[Record, Exception | None]:
    """Run ``spec`` in the store below ``out``, or find it done; print its table and write what is kept to ``folder``.

    The record, and the first error of the rows that failed.
    """
    store = Store(out / "store")
    code_digest(registry())  # a plugin that is changed during the run is another one afterwards
    executed = 0
    error: Exception | None = None
    record = recall(folder, spec, store)
    if record is not None and strict:
        refuse_unlike({row.method: row.conditions for row in record.rows if row.conditions})
    made = record is None
    if record is None:
        from dbtssl.benchmark.run import run_benchmark

        outcome = run_benchmark(spec, out, strict=strict)
        executed = outcome.executed
        error = next((row.error for row in outcome.rows if row.error), None)
        record = _record(spec, outcome, store)
        folder.mkdir(parents=True, exist_ok=True)
        if replaced := replaced_rows(folder, record):
            print(
                f"{folder}: other data or code than for the table that was here, which is replaced; rows with other "
                f"numbers: {', '.join(replaced)}",
                file=sys.stderr,
            )
        write_record(record, folder)
        # that of an earlier table must not stand beside this one, even if no other can be made
        (folder / PAGE).unlink(missing_ok=True)
    table = record_table(record, store)
    written = write_table(table, folder)
    plots = keep_plots(record, store, folder)
    page = folder / PAGE
    if made or not page.is_file():
        from dbtssl.benchmark.results.report_content import write_report

        write_report(Run(folder, record, store), page)
    print_table(screen(table))  # after all files: a screen that breaks off takes none of them along
    found = len(record.stages) - executed
    print(f"{executed} stages run, {found} found in the store", file=sys.stderr)
    print(f"written: {', '.join(str(path) for path in (*written, page))}", file=sys.stderr)
    if plots:
        print(f"monitors: {', '.join(str(path) for path in plots)}", file=sys.stderr)
    return record, error


def refuse_failures(failures: Mapping[str, str], rows: int, error: Exception | None) -> None:
    """`PluginError` where some of the ``rows`` failed, whole or in some levels; ``failures`` says which and why."""
    if failures:
        lines = "\n".join(f"  {name}: {why}" for name, why in failures.items())
        raise PluginError(
            f"{len({OF_LEVELS.sub('', name) for name in failures})} of {rows} rows failed:\n{lines}",
            hint="the other rows are kept; put it right and run again, --debug shows the first traceback",
        ) from error


def _record(spec: Spec, outcome: Outcome, store: Store) -> Record:
    data = outcome.data
    budget = Context(spec, data).budget(spec.seeds[0])  # as many for every seed
    whole = [x.row for x in outcome.rows if not isinstance(x.row, BrokenRow)]
    return Record(
        request=outcome.request,
        title=stage_label(spec, spec.title or spec.name),
        phantom=data.dataset.phantom,
        data=data.dataset.digest,
        split=data.split.digest,
        notes=data.split.notes,
        spec=result_fields(spec),
        stages=tuple(StageRecord(stage=x.stage, of=x.label, key=x.key) for x in outcome.lines),
        rows=tuple(_row(spec, scored, store, len(data.split.train)) for scored in outcome.rows),
        told=tuple(dict.fromkeys(said for row in whole for said in row.told)),
        labels=LabelRecord(
            share=spec.share,
            abnormal=budget.abnormal,
            normal=budget.normal,
            train=(data.split.abnormal[0], data.split.normal[0]),
            validation=(data.split.abnormal[1], data.split.normal[1]),
        ),
        comparison=outcome.comparison,
        environment=run_environment(spec.run.accelerator),
    )


def _row(spec: Spec, scored: RowOutcome, store: Store, volumes: int) -> RowRecord:
    row, error = scored.row, scored.error
    return RowRecord(
        method=row.name,
        backbone=row.backbone.name,
        finetuner=row.finetuning,
        seed=scored.seed,
        epochs_done=scored.epochs,
        epochs_planned=row.planned_epochs,
        reported=row.reported,
        score=scored.score,
        stages=dict(scored.stages),
        failure="" if error is None else error.message or type(error).__name__,
        hint="" if error is None else error.hint,
        warnings=scored.warnings,
        missing=dict(scored.missing),
        components=() if isinstance(row, BrokenRow) else components(spec, row),
        made_with=made_with(store, scored.stages),
        conditions=None if isinstance(row, BrokenRow) else conditions(row, volumes),
    )


FOLDER = "monitors"


def keep_plots(record: Record, store: Store, folder: Path) -> list[Path]:
    """Copy the plot of every pretraining of a run to ``folder/monitors``, and remove those of other runs.

    A pretraining that was done without monitors, or before, has no plot: it is not done again for one.
    """
    target = folder / FOLDER
    kept = []
    for stage in record.stages:
        source = store.path("pretrain", stage.key) / PLOT
        if stage.stage == "pretrain" and stage.key and source.is_file():
            kept.append(target / f"{stage.of.replace(', ', '-').replace(' ', '-')}.png")
            write_bytes(kept[-1], source.read_bytes())
    for stale in set(target.glob("*.png")) - set(kept):
        stale.unlink()
    return kept
