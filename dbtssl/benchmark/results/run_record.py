"""The record of a run, `benchmark.json`: enough to print its table again without a network or a plugin being loaded.

A benchmark that is asked for again with nothing changed is answered from its record: `request` hashes everything that
could change an answer (specification, data files, code of dbtssl and of every plugin).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

import dbtssl
from dbtssl.benchmark.inputs.breast_density import density_state
from dbtssl.benchmark.inputs.open_dataset import source_state
from dbtssl.benchmark.results.provenance import ComponentRecord, conditions_note
from dbtssl.benchmark.stages.compare_stage import read_comparison
from dbtssl.benchmark.stages.probe_stages import TASKS, TASKS_FILE
from dbtssl.config import Config, digest, result_fields
from dbtssl.errors import DataError, PluginError
from dbtssl.evaluation.predictions.evaluation_sets import NAMES
from dbtssl.evaluation.probes.frozen_probes import FrozenTasks
from dbtssl.evaluation.values import Missing, Score
from dbtssl.interfaces import Level, Reported
from dbtssl.io import write_text
from dbtssl.plugins.registry import registry
from dbtssl.report.build_table import build_table
from dbtssl.report.notes import of_levels, with_hint
from dbtssl.report.row_differences import Conditions
from dbtssl.report.table_model import Entry

if TYPE_CHECKING:
    from dbtssl.benchmark.spec.specification import Spec
    from dbtssl.engine.store import Store
    from dbtssl.plugins.component import Component
    from dbtssl.plugins.registry import Registry
    from dbtssl.report.table_model import Table

RECORD = "benchmark.json"
FORMAT = 1
CORE = "core"  # the plugin that brings dbtssl's own components


class StageRecord(Config):
    """A stage that the run used."""

    stage: str = Field(description="name of the stage")
    of: str = Field(description="row and seed, or source")
    key: str = Field(description="key in the store")


class RowRecord(Config):
    """A row and seed of the table."""

    method: str = Field(description="the row's name")
    backbone: str = Field(description="the encoder")
    finetuner: str = Field(description="the fine-tuning strategy")
    seed: int = Field(description="the seed")
    epochs_done: int | None = Field(description="pretraining epochs of this run")
    epochs_planned: int | None = Field(description="pretraining epochs of the method's paper")
    reported: tuple[Reported, ...] = Field(description="the paper's own rows")
    score: str = Field(description="key of the score stage; empty where the row failed")
    stages: dict[str, str] = Field(
        default_factory=dict, description="keys of the stages before: pretrain, finetune, predict"
    )
    failure: str = Field(default="", description="why there is no score")
    components: tuple[ComponentRecord, ...] = Field(
        default=(), description="who brought each component; none in records of older versions"
    )
    made_with: dict[str, str] = Field(
        default_factory=dict, description="versions and devices that its stages were made with"
    )
    conditions: Conditions | None = Field(
        default=None, description="fine-tuning, encoder and images; none in older records"
    )
    hint: str = Field(default="", description="what to do about the failure")
    warnings: tuple[str, ...] = Field(
        default=(), description="what the row's stages found that does not stop it"
    )
    missing: dict[Level, Missing] = Field(
        default_factory=dict, description="levels without a score, and why"
    )


class LabelRecord(Config):
    """Whose labels the methods were given: patients, of the same number for every seed."""

    share: float = Field(description="share of the training patients, of abnormal and normal ones")
    abnormal: int = Field(description="abnormal training patients with labels")
    normal: int = Field(description="normal training patients with labels")
    train: tuple[int, int] = Field(description="abnormal and normal training patients in all")
    validation: tuple[int, int] = Field(description="the same of validation, which is whole")

    def words(self) -> str:
        """The note below the table."""
        (abnormal, normal), chosen = self.train, self.validation
        return (
            f"{100 * self.share:g} % of the labels: {self.abnormal:,} of {abnormal:,} abnormal and {self.normal:,} of "
            f"{normal:,} normal training patients had labels, for fine-tuning and for aggregators that learn. They "
            "are drawn by a hash of seed and patient: the same for every method, others for each seed, and within "
            "those of a larger share. Pretraining saw all training volumes. Validation is whole and chooses epoch and "
            f"threshold: {chosen[0]:,} abnormal and {chosen[1]:,} normal patients more whose labels were read."
        )


class Record(Config):
    """Everything that a table says about one run, and where its parts lie."""

    format: int = Field(default=FORMAT, description="version of this file")
    request: str = Field(description="hash of everything that was asked for")
    title: str = Field(description="title of the table")
    phantom: bool = Field(description="whether the data are a phantom")
    data: str = Field(description="content hash of the prepared data set")
    split: str = Field(description="hash of the split")
    notes: tuple[str, ...] = Field(default=(), description="what the split says of its lists")
    told: tuple[str, ...] = Field(
        default=(), description="what changes presets, and what methods bring that does not count"
    )
    spec: dict[str, Any] = Field(description="the specification, resolved")
    stages: tuple[StageRecord, ...] = Field(description="every stage that the run used")
    rows: tuple[RowRecord, ...] = Field(description="rows of the table")
    labels: LabelRecord | None = Field(
        default=None, description="how many patients had labels; none in records of older versions"
    )
    comparison: str = Field(
        default="", description="key of the stage that compares the rows; empty where there is none"
    )
    environment: dict[str, str] = Field(
        default_factory=dict, description="versions, device and state of the code of the run"
    )

    @property
    def failures(self) -> dict[str, str]:
        """Row and seed, and the level where it is not all, to the reason why there is no score, with the next step."""
        found = {}
        for r in self.rows:
            name = f"{r.method}, seed {r.seed}"
            if r.failure:
                found[name] = with_hint(r.failure, r.hint)
            told = {level: with_hint(why.reason, why.hint) for level, why in r.missing.items()}
            found |= {f"{name} ({levels})": why for levels, why in of_levels(told).items()}
        return found


def request_digest(spec: Spec) -> str:
    """A hash of the specification, the source's files, and the code of dbtssl and of every plugin."""
    code = code_digest(registry())
    return digest([result_fields(spec), source_state(spec), code, *density_state(spec)])


@lru_cache(maxsize=1)
def code_digest(known: Registry) -> str:
    """A hash of the code of dbtssl and of every plugin, as it was when this was asked first: before a run."""
    root = Path(dbtssl.__file__).parent
    code = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        code.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    plugins = sorted(
        _code(component)
        for plugin in known.plugins
        if plugin.name != CORE  # hashed above
        for component in plugin.components
    )
    return digest([code.hexdigest(), plugins])


def _code(component: Component) -> str:
    """The fingerprint of a component; a plugin that nobody asked for may be half installed."""
    try:
        return component.fingerprint()
    except PluginError:
        return f"{component.origin} {component.target} is not installed"


def write_record(record: Record, folder: Path) -> None:
    """Write ``benchmark.json`` into ``folder``, whole or not at all."""
    text = json.dumps(record.model_dump(mode="json"), indent=2, sort_keys=True)
    write_text(folder / RECORD, text + "\n")


def recall(folder: Path, spec: Spec, store: Store) -> Record | None:
    """The record of an earlier run of the same request, with every stage still in the store; else None."""
    try:
        record = Record.model_validate_json((folder / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None
    if record.failures or record.request != request_digest(spec):
        return None
    if any(store.open(stage.stage, stage.key) is None for stage in record.stages):
        return None
    return record


def record_table(record: Record, store: Store) -> Table:
    """The table of a run, from its record and its score stages alone."""
    entries = [_entry(row, store) for row in record.rows]
    protocols = dict.fromkeys(entry.score.protocol for entry in entries if entry.score)
    tuned = [note for rules in protocols for note in rules.fine_tuning_notes()]
    found = store.open("compare", record.comparison) if record.comparison else None
    table = build_table(
        record.title,
        entries,
        phantom=record.phantom,
        evaluation_sets=NAMES,
        compared=read_comparison(found.folder).compared() if found else None,
    )
    of_split = tuple(f"Split {record.split[:8]}: {note}." for note in record.notes)
    budget = record.labels
    of_labels = (budget.words(),) if budget is not None and budget.share < 1 else ()
    every = record.spec.get("predict", {}).get("every", 1)
    of_slices = (f"One slice in {every} of each volume was scored, of both classes alike.",)
    made = conditions_note({f"{r.method}, seed {r.seed}": r.made_with for r in record.rows})
    told = (
        *record.told,
        *tuned,
        *of_labels,
        *(of_slices if every > 1 else ()),
        *of_split,
        *filter(None, [made]),
    )
    return replace(table, notes=(*table.notes, *told))


def _entry(row: RowRecord, store: Store) -> Entry:
    score = None
    if row.score:
        output = store.open("score", row.score)
        if output is None:
            raise DataError(
                f"the score of {row.method}, seed {row.seed}, is not in the store {store.root}",
                hint="a run's folder and its store stay side by side; or run the same benchmark again",
            )
        score = Score.from_json((output.folder / "score.json").read_text(encoding="utf-8"))
    return Entry(
        method=row.method,
        backbone=row.backbone,
        finetuner=row.finetuner,
        seed=row.seed,
        score=score,
        epochs_done=row.epochs_done,
        epochs_planned=row.epochs_planned,
        reported=row.reported,
        failure=row.failure,
        hint=row.hint,
        warnings=row.warnings,
        missing={level: with_hint(why.reason, why.hint) for level, why in row.missing.items()},
        frozen=_frozen(row, store),
        conditions=row.conditions,
    )


def _frozen(row: RowRecord, store: Store) -> FrozenTasks | None:
    """What the row's features are good for before fine-tuning; None where it was not asked."""
    if TASKS not in row.stages:
        return None
    output = store.open(TASKS, row.stages[TASKS])
    if output is None:
        raise DataError(
            f"the tasks of {row.method}, seed {row.seed}, are not in the store {store.root}",
            hint="a run's folder and its store stay side by side; or run the same benchmark again",
        )
    return FrozenTasks.from_json((output.folder / TASKS_FILE).read_text(encoding="utf-8"))
