"""Detections in the columns of DBTex, with the published tables of boxes and labels that they are scored against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.data.tables.csv_rows import csv_rows, finite
from dbtssl.data.tables.published_tables import Key, read_files
from dbtssl.errors import DataError
from dbtssl.evaluation.aggregation.volume_scores import COLUMNS as PAGE
from dbtssl.evaluation.aggregation.volume_scores import Rounded, parse_score
from dbtssl.evaluation.localisation.detection import BoxMatches, Detection, match
from dbtssl.evaluation.score_set import codes

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

PLACES = ("X", "Y", "Width", "Height", "Z", "Depth")
SIZES = ("Width", "Height", "Depth")
COLUMNS = ("PatientID", "StudyUID", "View", *PLACES, "Score")


def read_found(detections: Path, boxes: Path, labels: Path) -> tuple[BoxMatches, NDArray[np.int64]]:
    """Detections matched with the boxes, and the patient of each volume as an integer id.

    The volumes are those of ``labels``; a detection elsewhere is refused.
    """
    tables = read_files({"labels": [labels], "boxes": [boxes], "file-paths": []})
    keys = sorted(tables.labels)
    rows = read_detections(detections)
    if stray := sorted(set(rows) - set(keys)):
        raise DataError(
            f"{detections}: {len(stray)} volumes are not in {labels}: {'/'.join(stray[0])}",
            hint="give the labels of the same volumes; a false positive elsewhere would not count",
        )
    found = match(
        [tables.boxes.get(key, ()) for key in keys],
        [tables.n_slices.get(key, 0) for key in keys],
        [rows.get(key, []) for key in keys],
    )
    return found, codes([key.patient for key in keys])


def read_detections(path: Path) -> dict[Key, list[Detection]]:
    """The detections of each volume.

    `DataError` names the line of a value that is not a finite number, of a negative size, and of a row that is there
    twice: it would count as two false positives.
    """
    out: dict[Key, list[Detection]] = {}
    seen: dict[tuple[Key, Detection], str] = {}
    rounded = Rounded()
    for row, where in csv_rows(path, COLUMNS, what="file of detections", hint=PAGE):
        key = Key(row["PatientID"], row["StudyUID"], row["View"].lower())
        x, y, width, height, z, depth = (_number(row[name], name, where) for name in PLACES)
        score = parse_score(row["Score"], where, "Score")
        rounded.add(row["Score"], score, where)
        detection = Detection(x, y, width, height, z, depth, score)
        earlier = seen.setdefault((key, detection), where)
        if earlier != where:
            raise DataError(
                f"{where}: the detection of {earlier} once more",
                hint="keep one of the two rows; if two files were joined, one may hold all of the other",
            )
        out.setdefault(key, []).append(detection)
    return out


def _number(text: str, name: str, where: str) -> float:
    value = finite(text)
    if value is None:
        raise DataError(
            f"{where}: {name} {text!r} is not a finite number",
            hint="pixels at full resolution, slices from 0, with a decimal point",
        )
    if value < 0 and name in SIZES:
        raise DataError(
            f"{where}: {name} {text} is negative",
            hint="X, Y and Z are the top left corner and the first slice; Width, Height and Depth go on from there",
        )
    return value
