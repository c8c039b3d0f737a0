"""A finished run on the phantom, opened with what the phantom knows: for the scripts beside this file."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t as student

from dbtssl.benchmark.inputs.open_dataset import Data, make_split
from dbtssl.benchmark.resolve import resolve
from dbtssl.benchmark.results.finished_run import Run, open_run
from dbtssl.benchmark.stages.context import Context
from dbtssl.benchmark.stages.train_stages import ENCODER, HEAD, PLACE, load_weights, new_encoder
from dbtssl.config import validate
from dbtssl.data.sources.phantom_source import MARKER
from dbtssl.errors import DataError, DbtsslError
from dbtssl.evaluation.statistics.clustered import patient_draws, proportion_interval
from dbtssl.evaluation.statistics.intervals import MIN_PATIENTS
from dbtssl.phantom.cohort.phantom_cohort import PlannedVolume, plan
from dbtssl.phantom.model.phantom_config import FIELD_OF_VIEW, PhantomConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from dbtssl.benchmark.resolve import Row
    from dbtssl.benchmark.results.run_record import RowRecord
    from dbtssl.data.records import Box, Volume
    from dbtssl.nn.classifier import PatchClassifier
    from dbtssl.patches.patch_rule import PatchRule

CONFIDENCE = 0.95


@dataclass(frozen=True)
class PhantomRun:
    """A run, its data and split, its rows by name, and the plan of each of its volumes, by id."""

    run: Run
    config: PhantomConfig
    data: Data
    rows: Mapping[str, Row]
    planned: Mapping[str, PlannedVolume]

    @property
    def rule(self) -> PatchRule:
        """The size of a patch in pixels and the tissue that it must hold."""
        return Context(self.run.spec, self.data).rule

    @property
    def size(self) -> int:
        """The side of a patch in pixels."""
        return self.rule.size

    def encoder(self, record: RowRecord) -> nn.Module:
        """The frozen encoder of a row before any label: pretrained, or as the row begins."""
        row = self.rows[record.method]
        encoder = new_encoder(row, record.seed)
        if row.objective is not None:
            folder = self.run.folder_of(record, "pretrain")
            load_weights(encoder, folder / ENCODER, record.method)
        elif row.initial is not None:
            row.initial.load(encoder, row.backbone)
        return encoder.eval()

    def presence(self, record: RowRecord) -> PatchClassifier:
        """The row's pretrained encoder with the head that its pretraining left; `DataError` where it left none."""
        from safetensors.torch import load_file

        from dbtssl.nn.classifier import PatchClassifier

        folder = self.run.folder_of(record, "pretrain") if "pretrain" in record.stages else None
        if folder is None or not (folder / HEAD).is_file():
            raise DataError(
                f"row {record.method}: its pretraining left no presence head",
                hint="take a row of the objective implants with --row, such as implants-no-labels",
            )
        model = PatchClassifier(self.encoder(record))
        model.head.load_state_dict(load_file(folder / HEAD))
        return model.eval()

    def place(self, record: RowRecord) -> nn.Module | None:
        """The head that told at each place of the feature map whether an object is there; None where there is none."""
        objective = self.rows[record.method].objective
        if objective is None:
            return None
        folder = self.run.folder_of(record, "pretrain")
        if not (folder / PLACE).is_file():
            return None
        place: nn.Module = objective.build(self.encoder(record)).place()
        load_weights(place, folder / PLACE, record.method)
        return place.eval()

    def records(self, method: str, seeds: Sequence[int] = ()) -> list[RowRecord]:
        """The records of a row, those of ``seeds`` or all; `DataError` where there is none."""
        known = self.run.record.rows
        found = [r for r in known if r.method == method and (not seeds or r.seed in seeds)]
        if not found:
            have = ", ".join(f"{r.method} (seed {r.seed})" for r in known)
            raise DataError(
                f"{self.run.folder}: got row {method!r}, seeds {list(seeds) or 'all'}; it has {have}",
                hint="name a row with --row and its seeds with --seeds",
            )
        return found


def open_phantom(folder: Path) -> PhantomRun:
    """Open the run in ``folder``; `DataError` where it is not of a phantom, or its data are not there any more."""
    run = open_run(folder)
    if not run.record.phantom:
        raise DataError(
            f"{folder} is no run on a phantom", hint="give a run with data.source phantom"
        )
    dataset = run.dataset()
    if dataset is None:
        raise DataError(f"{folder}: its prepared data are gone", hint="run the benchmark once more")
    data = Data(dataset, make_split(run.spec, dataset))
    config = _config(run)
    planned = {volume.id: volume for volume in plan(config)}
    for volume in dataset.cohort:
        same = planned.get(volume.id)
        if same is None or len(same.boxes) != len(volume.boxes) or same.n_slices != volume.n_slices:
            raise DataError(
                f"{folder}: volume {volume.id} is not what this version's phantom would hold",
                hint="use the version of dbtssl that made the run",
            )
    return PhantomRun(run, config, data, {r.name: r for r in resolve(run.spec).rows}, planned)


def _config(run: Run) -> PhantomConfig:
    spec = run.spec.data
    if not spec.root:
        return validate(PhantomConfig, spec.phantom, "data.phantom")
    note = Path(spec.root).expanduser() / MARKER
    if not note.is_file():
        raise DataError(
            f"{note} is missing, so that it is not known what the phantom holds",
            hint="run on a folder that dbtssl phantom wrote, or without data.root",
        )
    return PhantomConfig.model_validate_json(json.dumps(json.loads(note.read_text())["config"]))


def millimetres(volume: Volume) -> float:
    """The side of a pixel of a prepared slice, mm: its rows are the 245 mm along the chest wall."""
    return FIELD_OF_VIEW / volume.rows


def scaled(box: Box, by: float) -> Box:
    """The box on slices that are ``by`` times larger."""
    return replace(box, x=box.x * by, y=box.y * by, width=box.width * by, height=box.height * by)


def share(hits: NDArray[np.float64], patients: NDArray[np.int64]) -> dict[str, Any]:
    """Mean of ``hits`` (0 to 1, one a unit), with Wilson's interval, patients as clusters."""
    if not len(hits):
        return {"value": None, "low": None, "high": None, "n": 0}
    found: dict[str, Any] = {"value": float(hits.mean()), "low": None, "high": None, "n": len(hits)}
    _, codes = np.unique(patients, return_inverse=True)
    units = np.bincount(codes).astype(np.float64)
    if len(units) >= MIN_PATIENTS:
        of_patient = np.bincount(codes, hits).astype(np.float64)
        low, high = proportion_interval(of_patient, units, len(units) - 1, CONFIDENCE)
        found |= {"low": low, "high": high}
    return found


def difference(
    one: NDArray[np.float64], other: NDArray[np.float64], patients: NDArray[np.int64]
) -> dict[str, Any]:
    """Mean of ``one`` - ``other`` on the same units; interval of the paired patient bootstrap, Student's t."""
    gap = one - other
    found: dict[str, Any] = {"value": float(gap.mean()), "low": None, "high": None}
    _, codes = np.unique(patients, return_inverse=True)
    count = int(codes.max()) + 1
    if count >= MIN_PATIENTS:
        weights = patient_draws(np.ones(len(codes), dtype=np.bool_), codes)  # draws x patients
        drawn = (weights @ np.bincount(codes, gap)) / (weights @ np.bincount(codes))
        half = float(student.ppf(0.5 + CONFIDENCE / 2, count - 1) * drawn.std(ddof=1))
        found |= {"low": found["value"] - half, "high": found["value"] + half}
    return found


def shown(found: Mapping[str, Any], sign: str = "") -> str:
    """A value and its interval as text."""
    if found["value"] is None:
        return "-"
    text = f"{found['value']:{sign}.2f}"
    return (
        text
        if found["low"] is None
        else f"{text} [{found['low']:{sign}.2f}, {found['high']:{sign}.2f}]"
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, the first to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            c.ljust(w) if i == 0 else c.rjust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def script(main: Callable[[], None]) -> None:
    """Run ``main``; a user's mistake ends with a message and code 2."""
    try:
        main()
    except DbtsslError as exc:
        print(f"error: {exc.message}\nhint: {exc.hint}", file=sys.stderr)
        raise SystemExit(2) from None
