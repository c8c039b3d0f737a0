"""Volumes with one score each, from a CSV file that any system may write: ``volume,patient,label,score``.

Two more columns are used where they are there: ``study`` and ``view`` (lcc, rmlo, ...), for the scores of breasts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from dbtssl.config import did_you_mean
from dbtssl.data.tables.csv_rows import csv_rows, finite
from dbtssl.data.tables.identifiers import in_both, refuse_two_spellings, refuse_two_studies
from dbtssl.errors import DataError
from dbtssl.evaluation.aggregation.apply import upper_sets
from dbtssl.evaluation.score_set import ScoreSet, codes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

REQUIRED = ("volume", "patient", "label", "score")
WORDS = ("normal", "actionable", "benign", "cancer", "abnormal")
NUMBERS = {"0": "normal", "1": "abnormal"}
SCALE = "docs/predictions.md: a score is any number that rises with suspicion, with a decimal point"
COLUMNS = "docs/predictions.md lists the columns"
EXACT = 2**53  # up to here a float holds every integer
LABELS = "a label is normal, actionable, benign, cancer or abnormal; 0 is normal and 1 abnormal"
_INTEGER = re.compile(r"[+-]?\d+(?:\.0*)?", re.ASCII)
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
    rounded = Rounded()
    for row, where in csv_rows(path, needed, what="table of scores", hint=COLUMNS):
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
            near = in_both([volume], labels or ())
            raise DataError(
                f"{where}: volume {volume} has no label in the file of --labels",
                hint=f"write the id in the same way in both files: {near[0]}"
                if near
                else "add a row for the volume; published labels make ids of the form PatientID_StudyUID_View",
            )
        view = row.get("view", "").lower()
        if view and not _VIEW.match(view):
            raise DataError(f"{where}: view {view!r}", hint="expected lcc, rmlo, lmlo1 or the like")
        score = parse_score(row["score"], where)
        rounded.add(row["score"], score, where)
        rows[volume] = patient, row.get("study", ""), view, label, score
    if not rows:
        raise DataError(f"{path}: no rows", hint=f"expected one row a volume: {','.join(REQUIRED)}")
    refuse_two_spellings(rows, "volumes", str(path))
    refuse_two_studies((row[:2] for row in rows.values()), str(path))
    ids = sorted(rows)
    patients, studies, views, found, scores = zip(*(rows[i] for i in ids), strict=True)
    return VolumeScores(tuple(ids), patients, studies, views, found, np.array(scores))


def read_labels(path: Path) -> dict[str, str]:
    """Volume to label, from a CSV file ``volume,label`` or a published table of labels of BCS-DBT."""
    out: dict[str, str] = {}
    for row, where in csv_rows(path, (), what="table of labels", hint=COLUMNS):
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


def parse_score(text: str, where: str, name: str = "score") -> float:
    """The score in a cell; `DataError` for what is no finite number, and for an integer beyond 2^53."""
    value = finite(text)
    if value is None:
        raise DataError(f"{where}: {name} {text!r} is not a finite number", hint=SCALE)
    if _INTEGER.fullmatch(text) and abs(Decimal(text)) > EXACT:
        raise DataError(
            f"{where}: {name} {text} is an integer beyond 2^53: others near it would become the same number",
            hint="divide all scores of all files by the same number, or give them as decimals",
        )
    return value


class Rounded:
    """Refuses scores that differ in a file and are one floating-point number: a tie that the file does not have."""

    def __init__(self) -> None:
        self._seen: dict[float, tuple[str, str]] = {}

    def add(self, text: str, value: float, where: str) -> None:
        """Take the next score; `DataError` names both lines."""
        other, place = self._seen.setdefault(value, (text, where))
        if other != text and Decimal(other) != Decimal(text):
            raise DataError(
                f"{where}: score {text}, and {other} in {place}: one number in double precision",
                hint="spread the scores: logits in place of probabilities near 0 or 1, or smaller numbers",
            )
