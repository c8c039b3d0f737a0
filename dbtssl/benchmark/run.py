"""Run a benchmark, or plan it: every row through its stages, shared stages once, one table at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from dbtssl.benchmark.graph import (
    COMPARE,
    FEATURES,
    FINETUNE,
    PREDICT,
    PRETRAIN,
    SCORE,
    TASKS,
    Node,
    StageKind,
    graph,
    walk,
)
from dbtssl.benchmark.inputs.breast_density import open_density
from dbtssl.benchmark.inputs.open_dataset import Data, must_make_phantom, open_data
from dbtssl.benchmark.networks import check_patch_size
from dbtssl.benchmark.resolve import BrokenRow, resolve
from dbtssl.benchmark.results.environment import run_environment
from dbtssl.benchmark.results.run_record import request_digest
from dbtssl.benchmark.row_conditions import conditions, refuse_unlike
from dbtssl.benchmark.stages.compare_stage import comparison_stage
from dbtssl.benchmark.stages.component_errors import failure, levels
from dbtssl.benchmark.stages.context import Context
from dbtssl.benchmark.stages.probe_stages import features_stage, tasks_stage
from dbtssl.benchmark.stages.row_warnings import read_warnings
from dbtssl.benchmark.stages.score_stages import predict_stage, read_score, score_stage
from dbtssl.benchmark.stages.train_stages import finetune_stage, pretrain_stage
from dbtssl.engine.store import Output, Stage, Store
from dbtssl.progress import say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
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


@dataclass
class RowOutcome:
    """A row and a seed with the key of its score stage; ``error`` says why there is none.

    ``warnings`` are what its stages found, ``missing`` the levels that have no score. ``stages`` maps the stages before
    it (pretrain, finetune, predict) to their keys; of a row that failed those that were done.
    """

    row: Row | BrokenRow
    seed: int
    score: str = ""
    stages: dict[str, str] = field(default_factory=dict)
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
    rows: tuple[RowOutcome, ...]
    lines: tuple[Line, ...]
    executed: int
    request: str
    comparison: str = ""


MAKERS: dict[StageKind, Callable[..., Stage]] = {
    PRETRAIN: lambda ctx, row, seed, _: pretrain_stage(ctx, row, seed),
    FEATURES: features_stage,
    TASKS: tasks_stage,
    FINETUNE: finetune_stage,
    PREDICT: predict_stage,
    SCORE: score_stage,
}
"""How the stage of a row is made: from context, row, seed, and the output of the node that it needs, or None."""


def stage_of(
    node: Node, needs: Sequence[Node], have: Mapping[Node, Output], ctx: Context, row: Row
) -> Stage:
    """The stage of a row's node, whose needs are all in ``have``."""
    parent = have[needs[0]] if needs else None
    return MAKERS[node.kind](ctx, row, node.seed, parent)


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
    rows, comparison = _run_rows(executor, ctx, resolved)
    request = request or request_digest(spec)
    lines = tuple(executor.lines)
    return Outcome(data, rows, lines, executor.executed, request, comparison)


def _run_rows(
    executor: Executor, ctx: Context, resolved: Resolved
) -> tuple[tuple[RowOutcome, ...], str]:
    """Walk the graph; the outcome of each row and seed, and the key of the stage that compares them.

    A method that fails becomes a row that says so and keeps what was done, and none of its further stages is tried;
    bad data and a full disk end the run.
    """
    spec = ctx.spec
    rows = {row.name: row for row in resolved.rows}
    outcomes = {
        (name, seed): RowOutcome(row, seed, error=row.error if isinstance(row, BrokenRow) else None)
        for name, row in _in_order(spec, resolved).items()
        for seed in spec.seeds
    }
    nodes = graph(spec, resolved.rows)
    comparison = ""

    def make(node: Node, have: Mapping[Node, Output]) -> Output | None:
        nonlocal comparison
        if node.kind is COMPARE:
            stage = _compare_stage(spec, nodes[node], have)
            comparison = stage.key if stage else ""
            return executor.get(stage) if stage else None
        outcome, row = outcomes[node.row, node.seed], rows[node.row]
        if outcome.error is not None:
            return None
        try:
            stage = stage_of(node, nodes[node], have, ctx, row)
            output = executor.get(stage)
            assert output is not None, "an executor that is not dry makes what is missing"
            _note(outcome, node, stage, output, ctx)
        except (Exception, SystemExit) as exc:
            outcome.error = failure(spec, row, exc)
            outcome.score = ""
            return None
        return output

    for _ in walk(nodes, make):
        pass
    return tuple(outcomes.values()), comparison


def _note(outcome: RowOutcome, node: Node, stage: Stage, output: Output, ctx: Context) -> None:
    """Keep what a stage of a row says of it."""
    row = outcome.row
    if node.kind is SCORE:
        assert not isinstance(row, BrokenRow), "a broken row has no stage"
        outcome.score = stage.key
        outcome.missing = levels(ctx.spec, row, read_score(output.folder).missing)
        return
    outcome.stages[stage.name] = stage.key
    outcome.warnings = (*outcome.warnings, *read_warnings(output))
    if node.kind is PRETRAIN:
        outcome.epochs = getattr(getattr(row, "pretrain", None), "epochs", None)


def _in_order(spec: Spec, resolved: Resolved) -> dict[str, Row | BrokenRow]:
    rows: dict[str, Row | BrokenRow] = {row.name: row for row in resolved.rows}
    rows |= {row.name: row for row in resolved.broken}
    return {name: rows[name] for name in spec.methods}


def _compare_stage(spec: Spec, needs: Sequence[Node], have: Mapping[Node, Output]) -> Stage | None:
    """The stage that compares the rows that have a score; None for fewer than two rows."""
    parts = [
        (node.row, node.seed, have[Node(PREDICT, node.row, node.seed, node.labels)], have[node])
        for node in needs
        if node.kind is SCORE and node in have
    ]
    return comparison_stage(spec, parts) if len({name for name, *_ in parts}) > 1 else None


def plan_benchmark(spec: Spec, out: Path, *, strict: bool = False) -> list[Line]:
    """What a run would do, stage by stage, for every fraction of the labels; nothing is made.

    Rows that cannot be run are said and have no stage.
    """
    resolved = resolve(spec)
    if strict:
        refuse_unlike({row.name: conditions(row) for row in resolved.rows})
    for broken in resolved.broken:
        say(f"row {broken.name} cannot be run: {broken.error.message}")
    executor = Executor(Store(out / "store"), dry=True)
    data = None
    if must_make_phantom(spec):
        executor.later("phantom", spec.data.source)
        executor.later("prepare", spec.data.source)
    else:
        data = open_data(spec, executor.get)
    if data is not None:
        check_patch_size(spec, data)
    for share in spec.labels:
        _plan(executor, spec.model_copy(update={"labels": (share,)}), data, resolved)
    return executor.lines


def _plan(executor: Executor, spec: Spec, data: Data | None, resolved: Resolved) -> None:
    ctx = None if data is None else Context(spec, data, open_density(spec, data))
    rows = {row.name: row for row in resolved.rows}
    nodes = graph(spec, resolved.rows)

    def look(node: Node, have: Mapping[Node, Output]) -> Output | None:
        needs = nodes[node]
        if ctx is None or any(need not in have for need in needs):
            executor.later(node.kind.name, node.label)
            return None
        if node.kind is COMPARE:
            stage = _compare_stage(spec, needs, have)
            return executor.get(stage) if stage else None
        return executor.get(stage_of(node, needs, have, ctx, rows[node.row]))

    for _ in walk(nodes, look):
        pass
