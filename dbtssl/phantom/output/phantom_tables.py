"""The three tables of BCS-DBT, with the published names and columns, for a phantom cohort."""

from __future__ import annotations

import csv
import io
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from dbtssl.data.records import Label
from dbtssl.phantom.output.phantom_dicom import (
    SERIES_NUMBER,
    STUDY_DESCRIPTION,
    series_uid,
    study_uid,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dbtssl.phantom.cohort.phantom_cohort import PlannedVolume

COLLECTION = "Breast-Cancer-Screening-DBT"
KEY = ("PatientID", "StudyUID", "View")
PATHS = ("descriptive_path", "classic_path")
LABELS = ("Normal", "Actionable", "Benign", "Cancer")
BOXES = ("Subject", "Slice", "X", "Y", "Width", "Height", "Class", "AD", "VolumeSlices")


def classic_path(cohort: str, volume: PlannedVolume) -> PurePosixPath:
    """Where the file of a volume lies below the root: the NBIA Data Retriever's classic layout."""
    return PurePosixPath(
        COLLECTION, volume.patient, study_uid(cohort, volume), series_uid(cohort, volume), "1-1.dcm"
    )


def descriptive_path(cohort: str, volume: PlannedVolume) -> PurePosixPath:
    """The other published path; no file lies there."""
    study, series = study_uid(cohort, volume)[-5:], series_uid(cohort, volume)[-5:]
    return PurePosixPath(
        COLLECTION,
        volume.patient,
        f"01-01-2000-{volume.study}-{STUDY_DESCRIPTION}-{study}",
        f"{SERIES_NUMBER[volume.view]}.000000-{series}",
        "1-1.dcm",
    )


def tables(cohort: str, volumes: Sequence[PlannedVolume]) -> dict[str, str]:
    """File name to CSV text: file paths and labels by volume, boxes by box."""
    paths = [(*_key(v), descriptive_path(cohort, v), classic_path(cohort, v)) for v in volumes]
    labels = [(*_key(v), *(int(v.label == label) for label in Label)) for v in volumes]
    boxes = [
        (*_key(v), 0, b.z, int(b.x), int(b.y), int(b.width), int(b.height),
         b.label.name.lower(), int(b.distortion), v.n_slices)
        for v in volumes
        for b in v.boxes
    ]  # fmt: skip
    return {
        "BCS-DBT-file-paths-train-v2.csv": _csv((*KEY, *PATHS), paths),
        "BCS-DBT-labels-train-v2.csv": _csv((*KEY, *LABELS), labels),
        "BCS-DBT-boxes-train-v2.csv": _csv((*KEY, *BOXES), boxes),
    }


def _key(volume: PlannedVolume) -> tuple[str, str, str]:
    return volume.patient, volume.study, volume.view


def _csv(columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
