"""Run a benchmark, or plan it: every row through its stages, shared stages once, one table at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from dbtssl.benchmark.inputs.breast_density import open_density
from dbtssl.benchmark.inputs.open_dataset import Data, must_make_phantom, open_data
from dbtssl.benchmark.networks import check_patch_size
from dbtssl.benchmark.resolve import BrokenRow, resolve
from dbtssl.benchmark.results.environment import run_environment
from dbtssl.benchmark.results.run_record import request_digest
from dbtssl.benchmark.row_conditions import conditions, refuse_unlike
from dbtssl.benchmark.stages.compare_stage import comparison_stage
from dbtssl.benchmark.stages.component_errors import failure, levels
from dbtssl.benchmark.stages.context import Context, stage_label
from dbtssl.benchmark.stages.probe_stages import FEATURES, TASKS, features_stage, tasks_stage
from dbtssl.benchmark.stages.row_warnings import read_warnings
from dbtssl.benchmark.stages.score_stages import predict_stage, read_score, score_stage
from dbtssl.benchmark.stages.train_stages import finetune_stage, pretrain_stage
from dbtssl.engine.store import Output, Stage, Store
from dbtssl.progress import say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dbtssl.benchmark.resolve import Resolved, Row
    from dbtssl.benchmark.spec.specification import Spec
    from dbtssl.errors import DbtsslError
    from dbtssl.evaluation.values import Missing
    from dbtssl.interfaces import Level


@dataclass(frozen=True)
class Line:
    """One stage in the plan: ``status`` is ``done`` or ``run``; no key where parents are missing."""

    stage: str
    label: str
    status: str
    seconds: float | None = None
    key: str = ""


@dataclass(frozen=True)
class Scored:
    """A row and a seed with the key of its score stage; ``error`` says why there is none.

    ``warnings`` are what its stages found, ``missing`` the levels that have no score. ``stages`` maps the stages before
    it (pretrain, finetune, predict) to their keys; of a row that failed those that were done.
    """

    row: Row | BrokenRow
    seed: int
    score: str = ""
    stages: Mapping[str, str] = field(default_factory=dict)
    epochs: int | None = None
    warnings: tuple[str, ...] = ()
    missing: Mapping[Level, Missing] = field(default_factory=dict)
    error: DbtsslError | None = None


@dataclass
class Executor:
    """Gets stages from the store; when ``dry``, only looks whether they are there."""

    store: Store
    dry: bool = False
    lines: list[Line] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def get(self, stage: Stage) -> Output | None:
        """The stage's output; None when dry and not there yet."""
        output = self.store.find(stage) if self.dry else self.store.get(stage)
        if stage.key not in self._seen:
            self._seen.add(stage.key)
            done = output is not None and (self.dry or output.reused)
            self.lines.append(
                Line(
                    stage.name,
                    stage.label,
                    "done" if done else "run",
                    output.seconds if output else None,
                    stage.key,
                )
            )
        return output

    def later(self, name: str, label: str) -> None:
        """A stage whose parents are not there yet; one that several shares of the labels have in common counts once."""
        line = Line(name, label, "run")
        if line not in self.lines:
            self.lines.append(line)

    @property
    def executed(self) -> int:
        """How many stages were made, or would be."""
        return sum(line.status != "done" for line in self.lines)


@dataclass(frozen=True)
class Outcome:
    """What a run leaves: the rows, the data, and which stages were made."""

    data: Data
    scored: tuple[Scored, ...]
    lines: tuple[Line, ...]
    executed: int
    request: str
    comparison: str = ""


def run_benchmark(spec: Spec, out: Path, *, strict: bool = False) -> Outcome:
    """Every row of ``spec`` through its stages; what is in the store below ``out`` is not done again.

    ``strict`` refuses rows that differ in more than the method, before any of them is made.
    """
    resolved = resolve(spec)
    if strict:
        refuse_unlike({row.name: conditions(row) for row in resolved.rows})
    executor = Executor(Store(out / "store", partial(run_environment, spec.run.accelerator)))
    request = "" if must_make_phantom(spec) else request_digest(spec)  # files may change in a run
    data = open_data(spec, executor.get)
    assert data is not None, "an executor that is not dry makes what is missing"
    if strict:  # by now the images are known
        volumes = len(data.split.train)
        refuse_unlike({row.name: conditions(row, volumes) for row in resolved.rows})
    check_patch_size(spec, data)
    ctx = Context(spec, data, open_density(spec, data))
    for broken in resolved.broken:
        say(f"row {broken.name} cannot be run, the others go on: {broken.error.message}")
    rows: dict[str, Row | BrokenRow] = {row.name: row for row in resolved.rows}
    rows |= {row.name: row for row in resolved.broken}
    scored = tuple(
        _guarded(executor, ctx, rows[name], seed, resolved)
        for name in spec.methods
        for seed in spec.seeds
    )
    comparison = _compare(executor, spec, scored)
    lines = tuple(executor.lines)
    request = request or request_digest(spec)
    return Outcome(data, scored, lines, executor.executed, request, comparison)


def plan_benchmark(spec: Spec, out: Path, *, strict: bool = False) -> list[Line]:
    """What a run would do, stage by stage, for every share of the labels; nothing is made.

    Rows that cannot be run are said and have no stage.
    """
    resolved = resolve(spec)
    if strict:
        refuse_unlike({row.name: conditions(row) for row in resolved.rows})
    for row in resolved.broken:
        say(f"row {row.name} cannot be run: {row.error.message}")
    executor = Executor(Store(out / "store"), dry=True)
    if must_make_phantom(spec):
        executor.later("phantom", spec.data.source)
        executor.later("prepare", spec.data.source)
        data = None
    else:
        data = open_data(spec, executor.get)
        if data is not None:
            check_patch_size(spec, data)
    for share in spec.labels:
        _plan(executor, spec.model_copy(update={"labels": (share,)}), data, resolved)
    return executor.lines


def _plan(executor: Executor, spec: Spec, data: Data | None, resolved: Resolved) -> None:
    scored = []
    ctx = None if data is None else Context(spec, data, open_density(spec, data))
    for row in resolved.rows:
        for seed in spec.seeds:
            if ctx is None:
                for name in ("pretrain", *_after(spec)):
                    if name != "pretrain" or row.objective:
                        executor.later(name, _label(spec, name, row, seed))
            else:
                scored.append(_row(executor, ctx, row, seed, resolved, {}))
    if len(resolved.rows) > 1:
        if scored and all(x.score and executor.store.open("score", x.score) for x in scored):
            _compare(executor, spec, scored)
        else:
            executor.later("compare", stage_label(spec, "all rows"))


def _row(
    executor: Executor, ctx: Context, row: Row, seed: int, resolved: Resolved, keys: dict[str, str]
) -> Scored:
    """The stages of a row, one after the other; ``keys`` gets the key of each as it is done, also where one fails."""
    pretrained: Output | None = None
    epochs: int | None = None

    def get(stage: Stage) -> Output | None:
        found = executor.get(stage)
        keys[stage.name] = stage.key
        return found

    def later(name: str) -> None:
        executor.later(name, _label(ctx.spec, name, row, seed))

    if row.objective is not None:
        pretrained = get(pretrain_stage(ctx, row, seed))
        epochs = getattr(row.pretrain, "epochs", None)
        if pretrained is None:
            for name in _after(ctx.spec):
                later(name)
            return Scored(row, seed)
    if ctx.density is not None:
        features = get(features_stage(ctx, row, seed, pretrained))
        if features is None:
            later(TASKS)
        else:
            get(tasks_stage(ctx, row, seed, features))
    finetuned = get(finetune_stage(ctx, row, seed, pretrained))
    if finetuned is None:
        later("predict")
        later("score")
        return Scored(row, seed)
    predicted = get(predict_stage(ctx, row, seed, finetuned))
    if predicted is None:
        later("score")
        return Scored(row, seed)
    stage = score_stage(ctx, row, seed, predicted, resolved.patch, resolved.slice)
    scored = executor.get(stage)
    missing = {} if scored is None else levels(ctx.spec, row, read_score(scored.folder).missing)
    found = [w for part in (pretrained, finetuned, predicted) if part for w in read_warnings(part)]
    return Scored(row, seed, stage.key, keys, epochs, tuple(found), missing)


def _after(spec: Spec) -> tuple[str, ...]:
    """The stages that follow the pretraining of a row."""
    return (*((FEATURES, TASKS) if spec.tasks else ()), "finetune", "predict", "score")


def _label(spec: Spec, name: str, row: Row, seed: int) -> str:
    """What the stage ``name`` of a row is called; the share of the labels counts for those that read them."""
    of = f"{row.name}, seed {seed}"
    return of if name in ("pretrain", FEATURES, TASKS) else stage_label(spec, of)


def _compare(executor: Executor, spec: Spec, scored: Sequence[Scored]) -> str:
    """The key of the stage that compares the rows that have a score; empty where there are fewer than two."""
    parts = []
    for one in scored:
        if not one.score:
            continue
        predicted = executor.store.open("predict", one.stages["predict"])
        output = executor.store.open("score", one.score)
        if predicted is not None and output is not None:
            parts.append((one.row.name, one.seed, predicted, output))
    if len({name for name, *_ in parts}) < 2:
        return ""
    stage = comparison_stage(spec, parts)
    executor.get(stage)
    return stage.key


def _guarded(
    executor: Executor, ctx: Context, row: Row | BrokenRow, seed: int, resolved: Resolved
) -> Scored:
    """A method that fails becomes a row that says so, and keeps what was done; bad data and a full disk end the run.

    A plugin that leaves the interpreter (``sys.exit``) fails its row; an interrupt ends the run.
    """
    if isinstance(row, BrokenRow):
        return Scored(row, seed, error=row.error)
    done: dict[str, str] = {}
    try:
        return _row(executor, ctx, row, seed, resolved, done)
    except (Exception, SystemExit) as exc:
        return Scored(row, seed, stages=done, error=failure(ctx.spec, row, exc))
