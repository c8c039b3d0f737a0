"""A finished run, opened from its folder: the record, the store beside it, and what each row predicted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import ValidationError

from dbtssl.benchmark.results.run_record import RECORD, Record
from dbtssl.benchmark.spec.spec_files import recorded_spec
from dbtssl.benchmark.stages.context import stage_label
from dbtssl.benchmark.stages.scored_units import part_of, test_units
from dbtssl.engine.store import Store
from dbtssl.errors import DataError
from dbtssl.evaluation.values import Score
from dbtssl.folders import expanded

if TYPE_CHECKING:
    from pathlib import Path

    from dbtssl.benchmark.results.run_record import RowRecord
    from dbtssl.benchmark.spec.specification import Spec
    from dbtssl.benchmark.stages.scored_units import Units
    from dbtssl.data.prepared.prepared_dataset import PreparedDataset
    from dbtssl.engine.store import Output
    from dbtssl.evaluation.predictions.prediction_table import Predictions


PAGE, STORE = "report.html", "store"


@dataclass(frozen=True)
class Run:
    """A run's folder, its record and its store."""

    folder: Path
    record: Record
    store: Store

    @property
    def name(self) -> str:
        """The name of the specification, with the share of the labels where it is not all of them."""
        return stage_label(self.spec, f"{self.record.spec['name']}")

    @cached_property
    def spec(self) -> Spec:
        """The specification, resolved, as it was run."""
        return recorded_spec(self.record.spec, f"{self.folder / RECORD}")

    def output(self, row: RowRecord, stage: str) -> Output | None:
        """The output of a stage of a row; None where the row had no such stage, or the store has it no more."""
        key = row.stages.get(stage, "")
        return self.store.open(stage, key) if key else None

    def folder_of(self, row: RowRecord, stage: str) -> Path:
        """The folder of a stage of ``row``; `DataError` where it is not there any more."""
        key = row.score if stage == "score" else row.stages.get(stage, "")
        output = self.store.open(stage, key) if key else None
        if output is None:
            raise DataError(
                f"{self.folder}: stage {stage} of {row.method}, seed {row.seed}, is not in the store",
                hint="run the same benchmark again; only what is missing is made",
            )
        return output.folder

    def units(self, row: RowRecord) -> Units:
        """The test predictions of ``row`` and their units."""
        return test_units(self.spec, self.folder_of(row, "predict"), self.folder_of(row, "score"))

    def validation(self, row: RowRecord) -> Predictions:
        """The validation predictions of ``row``."""
        return part_of(self.spec, self.folder_of(row, "predict"), "val")

    def score(self, row: RowRecord) -> Score:
        """What the score stage of ``row`` left."""
        text = (self.folder_of(row, "score") / "score.json").read_text(encoding="utf-8")
        return Score.from_json(text)

    def dataset(self) -> PreparedDataset | None:
        """The prepared data set; None where it is not there any more, or is another one by now."""
        from dbtssl.data.prepared.prepared_dataset import MANIFEST, PreparedDataset

        keys = [s.key for s in self.record.stages if s.stage == "prepare"]
        output = self.store.open("prepare", keys[0]) if keys else None
        root = output.folder if output else expanded(self.spec.data.root)
        if not (root / MANIFEST).is_file():
            return None
        dataset = PreparedDataset.open(root)
        return dataset if dataset.digest == self.record.data else None


def open_run(folder: Path) -> Run:
    """The run in ``folder``, or the only one below it; `DataError` where there is none, or it cannot be read."""
    path = folder / RECORD
    if not path.is_file():
        below = sorted(p.parent.name for p in folder.glob(f"*/{RECORD}"))
        if len(below) != 1:
            known = f"; it holds the runs {', '.join(below)}" if below else ""
            raise DataError(
                f"{folder} is not a run: there is no {RECORD}{known}",
                hint=f"give the folder of one run, such as {folder / below[0]}"
                if below
                else "give the folder that `dbtssl benchmark` wrote its table into, such as runs/quick",
            )
        folder = folder / below[0]
        path = folder / RECORD
    try:
        record = Record.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError):
        raise DataError(
            f"{path} is damaged, or of another version of dbtssl",
            hint="run the same benchmark again; what is in the store is not done again",
        ) from None
    return Run(folder, record, _store_of(folder))


def _store_of(folder: Path) -> Store:
    """The store beside the run; that of a run for one share of several lies one folder higher."""
    above = (folder.parent, *folder.absolute().parents[1:2])
    return Store(next((p / STORE for p in above if (p / STORE).is_dir()), folder.parent / STORE))
