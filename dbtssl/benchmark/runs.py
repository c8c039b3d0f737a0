"""A finished run, opened from its folder: the record, the store beside it, and what each row predicted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from dbtssl.benchmark.record import RECORD, Record
from dbtssl.benchmark.spec import Spec
from dbtssl.benchmark.store import Store
from dbtssl.config import validate
from dbtssl.errors import DataError
from dbtssl.evaluation.predictions import read_predictions, without_actionable
from dbtssl.evaluation.protocol import protocol
from dbtssl.evaluation.units import score_sets
from dbtssl.plugins.registry import registry

if TYPE_CHECKING:
    from dbtssl.benchmark.record import RowRecord
    from dbtssl.benchmark.store import Output
    from dbtssl.data.store import PreparedDataset
    from dbtssl.evaluation.predictions import Predictions
    from dbtssl.evaluation.units import ScoreSet
    from dbtssl.interfaces import Aggregator, Level


PAGE = "report.html"
Part = Literal["val", "test"]


@dataclass(frozen=True)
class Run:
    """A run's folder, its record and its store."""

    folder: Path
    record: Record
    store: Store

    @property
    def name(self) -> str:
        """The name of the specification."""
        return f"{self.record.spec['name']}"

    @cached_property
    def spec(self) -> Spec:
        """The specification, resolved, as it was run."""
        return validate(Spec, self.record.spec, file=f"{self.folder / RECORD}")

    @cached_property
    def aggregators(self) -> tuple[Aggregator, Aggregator]:
        """Patches to slice, and slices to volume."""
        chosen = self.spec.aggregate
        build = partial(registry().build, "aggregator")
        return build(chosen.patch, {}), build(chosen.slice, {})

    def output(self, row: RowRecord, stage: str) -> Output | None:
        """The output of a stage of a row; None where the row had no such stage, or the store has it no more."""
        key = row.stages.get(stage, "")
        return self.store.open(stage, key) if key else None

    def file(self, row: RowRecord, part: Part = "test") -> Path:
        """Where the predictions of ``row`` lie; `DataError` where they are not there any more."""
        output = self.output(row, "predict")
        if output is None:
            raise DataError(
                f"{self.folder}: the predictions of {row.method}, seed {row.seed}, are not in the store",
                hint="run the same benchmark again; only what is missing is made",
            )
        return output.folder / f"{part}.parquet"

    def predictions(self, row: RowRecord, part: Part = "test") -> Predictions:
        """The predictions of ``row`` that its protocol counts."""
        found = read_predictions(self.file(row, part))
        drop = protocol(self.spec.protocol).actionable == "drop"
        return without_actionable(found) if drop else found

    def sets(self, row: RowRecord) -> dict[Level, ScoreSet]:
        """The test units of ``row`` with their scores, by level."""
        return {s.level: s for s in score_sets(self.predictions(row), *self.aggregators)}

    def dataset(self) -> PreparedDataset | None:
        """The prepared data set; None where it is not there any more, or is another one by now."""
        from dbtssl.data.store import MANIFEST, PreparedDataset

        keys = [s.key for s in self.record.stages if s.stage == "prepare"]
        output = self.store.open("prepare", keys[0]) if keys else None
        root = output.folder if output else Path(self.spec.data.root).expanduser()
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
    return Run(folder, record, Store(folder.parent / "store"))
