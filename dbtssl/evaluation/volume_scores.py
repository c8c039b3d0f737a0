"""Volumes with one score each, from a CSV file that any system may write: ``volume,patient,label,score``.

Two more columns are used where they are there: ``study`` and ``view`` (lcc, rmlo, ...), for the scores of breasts.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dbtssl.config import did_you_mean
from dbtssl.errors import DataError
from dbtssl.evaluation.units import ScoreSet, codes, upper_sets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

REQUIRED = ("volume", "patient", "label", "score")
WORDS = ("normal", "actionable", "benign", "cancer", "abnormal")
NUMBERS = {"0": "normal", "1": "abnormal"}
SCALE = "docs/predictions.md: a score is any number that rises with suspicion"
LABELS = "a label is normal, actionable, benign, cancer or abnormal; 0 is normal and 1 abnormal"
_VIEW = re.compile(r"^([lr])(cc|mlo)\d*$")


@dataclass(frozen=True)
class VolumeScores:
    """Volumes in order of their ids; ``labels`` are of `WORDS`, and studies and views may be empty."""

    volumes: tuple[str, ...]
    patients: tuple[str, ...]
    studies: tuple[str, ...]
    views: tuple[str, ...]
    labels: tuple[str, ...]
    scores: NDArray[np.float64]

    @property
    def abnormal(self) -> NDArray[np.bool_]:
        """Benign, cancer, or abnormal without more words."""
        return np.array([x not in ("normal", "actionable") for x in self.labels], dtype=np.bool_)

    def without_actionable(self) -> VolumeScores:
        """The same without volumes labelled Actionable; `DataError` where none is left."""
        keep = [i for i, label in enumerate(self.labels) if label != "actionable"]
        if not keep:
            raise DataError(
                "no volume is left once Actionable ones are left out",
                hint="score with --protocol strict-actionable-normal",
            )
        volumes, patients, studies, views, labels = (
            tuple(column[i] for i in keep)
            for column in (self.volumes, self.patients, self.studies, self.views, self.labels)
        )
        return VolumeScores(volumes, patients, studies, views, labels, self.scores[keep])

    def sets(self, scores: NDArray[np.float64] | None = None) -> tuple[ScoreSet, ...]:
        """Volumes, breasts (where study and view are known) and patients; with other ``scores`` of volumes if given."""
        own = self.scores if scores is None else scores
        volumes = ScoreSet("volume", self.volumes, codes(self.patients), self.abnormal, own)
        return volumes, *upper_sets(volumes, self.patients, self.studies, self.views)


def read_volume_scores(path: Path, labels: Mapping[str, str] | None = None) -> VolumeScores:
    """Read and check a CSV file; ``labels``, by volume, take the place of its column.

    Every `DataError` names the file, the line and the volume.
    """
    needed = [name for name in REQUIRED if labels is None or name != "label"]
    rows: dict[str, tuple[str, str, str, str, float]] = {}
    for where, row in read_csv(path, needed):
        volume, patient = row["volume"], row["patient"]
        if not (volume and patient):
            raise DataError(f"{where}: volume or patient is empty", hint="fill in both")
        if volume in rows:
            raise DataError(
                f"{where}: volume {volume} is there twice",
                hint="give each volume one score, and one row",
            )
        label = parse_label(row["label"], where) if labels is None else labels.get(volume, "")
        if not label:
            raise DataError(f"{where}: volume {volume} has no label in the file of --labels")
        view = row.get("view", "").lower()
        if view and not _VIEW.match(view):
            raise DataError(f"{where}: view {view!r}", hint="expected lcc, rmlo, lmlo1 or the like")
        rows[volume] = patient, row.get("study", ""), view, label, _score(row["score"], where)
    if not rows:
        raise DataError(f"{path}: no rows", hint=f"expected one row a volume: {','.join(REQUIRED)}")
    ids = sorted(rows)
    patients, studies, views, found, scores = zip(*(rows[i] for i in ids), strict=True)
    return VolumeScores(tuple(ids), patients, studies, views, found, np.array(scores))


def read_labels(path: Path) -> dict[str, str]:
    """Volume to label, from a CSV file ``volume,label`` or a published table of labels of BCS-DBT."""
    out: dict[str, str] = {}
    for where, row in read_csv(path, ()):
        if {"PatientID", "StudyUID", "View", "Normal"} <= row.keys():
            volume = f"{row['PatientID']}_{row['StudyUID']}_{row['View'].lower()}"
            flags = {name: row.get(name.capitalize(), "") for name in WORDS[:4]}
            marked = [name for name, flag in flags.items() if flag == "1"]
            if len(marked) != 1:
                raise DataError(f"{where}: expected one label of four to be 1, got {flags}")
            label = marked[0]
        elif {"volume", "label"} <= row.keys():
            volume, label = row["volume"], parse_label(row["label"], where)
        else:
            raise DataError(
                f"{path}: has the columns {', '.join(row)}",
                hint="a file of labels has volume and label, or the columns of BCS-DBT's published labels",
            )
        if out.setdefault(volume, label) != label:
            raise DataError(f"{where}: volume {volume} has two labels", hint="keep one of them")
    return out


def parse_label(text: str, where: str) -> str:
    """One of `WORDS`; 0 and 1 mean normal and abnormal."""
    word = NUMBERS.get(text.strip(), text.strip().lower())
    if word not in WORDS:
        raise DataError(f"{where}: unknown label {text!r}.{did_you_mean(word, WORDS)}", hint=LABELS)
    return word


def header(path: Path) -> list[str]:
    """The names of the columns; `DataError` where the file is missing or no text."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            return [name.strip() for name in next(csv.reader(lines), [])]
    except FileNotFoundError:
        raise DataError(f"no such file: {path}", hint="check the path") from None
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise DataError(f"{path} cannot be read as CSV: {exc}", hint="give a text file") from None


def read_csv(path: Path, needed: tuple[str, ...] | list[str]) -> list[tuple[str, dict[str, str]]]:
    """Rows with the file and line they stand on, cells stripped; `DataError` where a column is missing."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines, restval="")
            names = [name.strip() for name in reader.fieldnames or () if name]
            if missing := [name for name in needed if name not in names]:
                raise DataError(
                    f"{path}: missing columns {', '.join(missing)}; has {', '.join(names) or 'none'}",
                    hint="docs/predictions.md lists the columns",
                )
            return [
                (
                    f"{path}, line {reader.line_num}",
                    {k.strip(): (v or "").strip() for k, v in row.items() if k},
                )
                for row in reader
            ]
    except FileNotFoundError:
        raise DataError(f"no such file: {path}", hint="check the path") from None
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise DataError(f"{path} cannot be read as CSV: {exc}", hint="give a text file") from None


def _score(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: score {text!r} is not a finite number", hint=SCALE)
    return value
