"""Detections in the columns of DBTex, with the published tables of boxes and labels that they are scored against."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dbtssl.data.tables import Key, read_files
from dbtssl.errors import DataError
from dbtssl.evaluation.detection import Detection, Found, match
from dbtssl.evaluation.units import codes
from dbtssl.evaluation.volume_scores import read_csv

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

NUMBERS = ("X", "Y", "Width", "Height", "Z", "Depth", "Score")
COLUMNS = ("PatientID", "StudyUID", "View", *NUMBERS)


def read_found(detections: Path, boxes: Path, labels: Path) -> tuple[Found, NDArray[np.int64]]:
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
    """The detections of each volume; `DataError` names the line of a value that is not a finite number."""
    out: dict[Key, list[Detection]] = {}
    for where, row in read_csv(path, COLUMNS):
        values = {}
        for name in NUMBERS:
            try:
                values[name] = float(row[name])
            except ValueError:
                values[name] = math.nan
            if not math.isfinite(values[name]):
                raise DataError(
                    f"{where}: {name} {row[name]!r} is not a finite number",
                    hint="pixels at full resolution, slices from 0, any score",
                )
        x, y, width, height, z, depth, score = (values[name] for name in NUMBERS)
        key = Key(row["PatientID"], row["StudyUID"], row["View"].lower())
        out.setdefault(key, []).append(Detection(x, y, width, height, z, depth, score))
    return out
