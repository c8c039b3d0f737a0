"""The content of a report, gathered from a run's record, its store and its data set."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from dbtssl.benchmark.results.provenance import environment_of
from dbtssl.benchmark.results.report_examples import looked
from dbtssl.benchmark.results.run_record import record_table
from dbtssl.data.records import Label
from dbtssl.evaluation.metrics.roc_bands import reliability, roc_band
from dbtssl.report.html.content import Content, MethodRuns, Provenance, Seed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dbtssl.audit.confounders import Finding
    from dbtssl.benchmark.results.finished_run import Run
    from dbtssl.benchmark.results.run_record import RowRecord
    from dbtssl.data.prepared.prepared_dataset import PreparedDataset
    from dbtssl.interfaces import Level
    from dbtssl.report.html.content import Log
    from dbtssl.report.table_model import Table

LOG, MONITORS = "log.jsonl", "monitors.jsonl"
HIDDEN = ("root", "lists", "density")  # keys of a specification that hold folders
FILE = re.compile(r"[/\\]|\.(pth|pt|safetensors)$")  # a value that names a file of this machine


def report_content(run: Run) -> Content:
    """Everything that the report of ``run`` shows; what the store has no more is left out and said so."""
    record = run.record
    table = record_table(record, run.store)
    methods = _methods(run)
    dataset = run.dataset()
    return Content(
        name=run.name,
        table=table,
        phantom=record.phantom,
        methods=methods,
        looked=looked(run, dataset, _best(table, methods)) if methods else None,
        counts=_counts(run, dataset),
        audit=_audit(run, dataset),
        provenance=_provenance(run),
        confidence=run.spec.rules.confidence,
    )


def _methods(run: Run) -> tuple[MethodRuns, ...]:
    found: dict[str, list[Seed]] = {}
    for row in run.record.rows:
        if row.score and not row.failure:
            found.setdefault(row.method, []).append(_seed(run, row))
    return tuple(
        MethodRuns(name, tuple(seeds), _bands(run, seeds)) for name, seeds in found.items()
    )


def _seed(run: Run, row: RowRecord) -> Seed:
    score, chosen = run.score(row), run.spec.rules
    rows = {r.level: r for r in score.rows if r.kind == "method" and not r.subgroup}
    scored = {
        s.level: s
        for s in run.units(row).sets
        if s.abnormal.any() and not s.abnormal.all() and s.level in rows
    }
    prevalence = float(run.validation(row).abnormal.mean())
    reliable = (
        reliability(scored["slice"], prevalence, chosen.confidence)
        if "slice" in scored and 0 < prevalence < 1
        else ()
    )
    return Seed(
        seed=row.seed,
        sets=scored,
        rows=rows,
        patch_curve=score.patch_curve,
        looked=score.looked,
        reliability=reliable,
        pretraining=_log(run, row, "pretrain"),
        finetuning=_log(run, row, "finetune"),
        monitors=_log(run, row, "pretrain", MONITORS),
    )


def _bands(run: Run, seeds: Sequence[Seed]) -> dict[Level, Any]:
    confidence = run.spec.rules.confidence
    levels = seeds[0].sets
    return {level: roc_band([s.sets[level] for s in seeds], confidence) for level in levels}


def _log(run: Run, row: RowRecord, stage: str, name: str = LOG) -> Log:
    """The numbers of a training's log, a line an epoch; nothing where there is no log."""
    output = run.output(row, stage)
    if output is None or not (path := output.folder / name).is_file():
        return ()
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return tuple(
        {k: float(v) for k, v in line.items() if isinstance(v, int | float) and np.isfinite(v)}
        for line in lines
    )


def _best(table: Table, methods: Sequence[MethodRuns]) -> MethodRuns:
    """The method of the best AUC at volume level; the first where there is no best."""
    best = next(
        (
            r.method
            for r in table.rows
            if r.level == "volume" and "auc" in r.cells and r.cells["auc"].rank == "best"
        ),
        "",
    )
    return next((m for m in methods if m.name == best), methods[0])


def _parts(run: Run, dataset: PreparedDataset) -> list[str]:
    """The part of each volume: as predicted on for validation and test, else train."""
    import pyarrow.parquet as pq

    parts: dict[str, str] = {}
    for row in run.record.rows:
        output = run.output(row, "predict")
        if output is None:
            continue
        for name in ("val", "test"):
            table = pq.read_table(output.folder / f"{name}.parquet", columns=["volume"])
            parts |= dict.fromkeys(table["volume"].unique().to_pylist(), name)
        break
    drop = run.spec.rules.actionable == "drop"
    left_out = {v.id for v in dataset.cohort if drop and v.label == Label.ACTIONABLE}
    return [
        "left out" if v.id in left_out else parts.get(v.id, "train") if parts else ""
        for v in dataset.cohort
    ]


def _counts(
    run: Run, dataset: PreparedDataset | None
) -> tuple[tuple[str, str, int, int, int, int], ...]:
    from dbtssl.data.records import abnormal_slices

    if dataset is None:
        return ()
    before, after = run.spec.rules.lesion_window
    patients: dict[tuple[str, Label], set[str]] = defaultdict(set)
    numbers: Counter[tuple[str, Label, str]] = Counter()
    for part, v in zip(_parts(run, dataset), dataset.cohort, strict=True):
        patients[part, v.label].add(v.patient)
        numbers[part, v.label, "volumes"] += 1
        numbers[part, v.label, "slices"] += v.n_slices
        numbers[part, v.label, "abnormal"] += int(abnormal_slices(v, before, after).sum())
    return tuple(
        (
            part,
            label.name.lower(),
            len(patients[part, label]),
            numbers[part, label, "volumes"],
            numbers[part, label, "slices"],
            numbers[part, label, "abnormal"],
        )
        for part in ("train", "val", "test", "left out", "")
        for label in Label
        if (part, label) in patients
    )


def _audit(run: Run, dataset: PreparedDataset | None) -> tuple[Finding, ...]:
    """What of the test volumes' metadata alone tells the label; directions and rates are learnt on train."""
    from dbtssl.audit.collect import from_prepared
    from dbtssl.audit.confounders import audit

    if dataset is None:
        return ()
    parts = _parts(run, dataset)
    if "test" not in parts:
        return ()
    material = from_prepared(dataset, None, pixels=False)
    return audit(
        material.seen,
        parts,
        part="test",
        actionable=cast("Any", run.spec.rules.actionable),
    )


def _provenance(run: Run) -> Provenance:
    record = run.record
    seconds = {}
    for stage in record.stages:
        output = run.store.open(stage.stage, stage.key)
        seconds[stage.key] = "" if output is None else f"{output.seconds:,.0f}"
    hashes = {"request": record.request, "data": record.data, "split": record.split}
    scored = next((row for row in record.rows if row.score), None)
    rows = run.score(scored).rows if scored else ()
    sets = {
        f"evaluation set, {row.level}s": row.evaluation_set
        for row in rows
        if row.kind == "method" and not row.subgroup
    }
    return Provenance(
        hashes=hashes | sets,
        environment=dict(sorted(environment_of(record).items())),
        config=without_folders(record.spec),
        stages=[(s.stage, s.of, s.key, seconds[s.key]) for s in record.stages],
        components=sorted(
            {
                (c.kind, c.name, c.plugin, f"{c.distribution} {c.version}".strip(), c.code)
                for row in record.rows
                for c in row.components
            }
        ),
    )


def without_folders(value: Any, key: str = "") -> Any:
    """A specification in which what may name a folder of this machine is left out."""
    if isinstance(value, dict):
        return {k: without_folders(v, k) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(v) for v in value]
    if isinstance(value, str) and value and (key in HIDDEN or FILE.search(value)):
        return "(a folder or file, not shown)"
    return value


def write_report(run: Run, path: Path) -> int:
    """Write the report of ``run`` to ``path``, whole or not at all; its size in bytes."""
    from dbtssl.io import write_bytes
    from dbtssl.report.html.page import html_page

    text = html_page(report_content(run)).encode()
    write_bytes(path, text)
    return len(text)
