"""The published tables of BCS-DBT: labels, boxes and file paths, found by key word and checked.

Names differ between releases (spaces or hyphens, ``-v2``, ``-PHASE-2-Jan-2024``), so a table is known by the words in
its name: *labels*, *boxes* or *file paths*, and *train*, *validation* or *test*.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from dbtssl.data.records import Box, Label
from dbtssl.data.tables.csv_rows import alike, csv_files, csv_rows, finite, words_of
from dbtssl.data.tables.identifiers import refuse_two_studies
from dbtssl.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

WHERE = (
    "the tables are at https://www.cancerimagingarchive.net/collection/breast-cancer-screening-dbt/"
)
COMPARE = f"compare the row with the published table; {WHERE}"

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # ids become file names
T = TypeVar("T")

KINDS = {"labels": {"labels"}, "boxes": {"boxes"}, "file-paths": {"file", "paths"}}
SPLITS = ("train", "validation", "test")
KEY = ("PatientID", "StudyUID", "View")
CLASSES = ("Normal", "Actionable", "Benign", "Cancer")
COLUMNS = {
    "labels": (*KEY, *CLASSES),
    "boxes": (*KEY, "Slice", "X", "Y", "Width", "Height", "Class", "AD", "VolumeSlices"),
    "file-paths": (*KEY, "classic_path"),
}


class Key(NamedTuple):
    """The published key of a volume. ``study`` is the column StudyUID, which is the DICOM Study ID."""

    patient: str
    study: str
    view: str


@dataclass(frozen=True)
class Tables:
    """The tables of all splits together: what is known of each volume by its key."""

    labels: Mapping[Key, Label]
    boxes: Mapping[Key, tuple[Box, ...]]
    n_slices: Mapping[Key, int]  # of the volumes with a box
    paths: Mapping[Key, str]


class _Row(NamedTuple):
    key: Key
    values: dict[str, str]
    where: str  # file and line, for messages


def read_tables(*roots: Path) -> Tables:
    """Find, read and check the tables below ``roots``.

    Raises `DataError` for a missing table, missing columns, a value that cannot be read, labels that are not one-hot, a
    key listed twice, a box without a volume, and an abnormal volume without a box or the reverse.
    """
    return read_files(find_tables(*roots))


def read_files(files: Mapping[str, Sequence[Path]]) -> Tables:
    """Read and check tables by kind, as `read_tables` does; a kind without files is empty, and not checked against."""
    labels = _unique(_rows(files["labels"], "labels"), _label)
    paths = _unique(
        _rows(files["file-paths"], "file-paths"), lambda row: row.values["classic_path"]
    )
    boxes: dict[Key, list[Box]] = defaultdict(list)
    n_slices: dict[Key, int] = {}
    for row in _rows(files["boxes"], "boxes"):
        if files["labels"] and row.key not in labels:
            raise DataError(
                f"{row.where}: a box on volume {'/'.join(row.key)}, which no table of labels lists",
                hint="put the labels and the boxes of the same release and split together",
            )
        box = _box(row)
        if any(_same_place(box, other) for other in boxes[row.key]):
            raise DataError(
                f"{row.where}: this box of volume {'/'.join(row.key)} is in an earlier row as well",
                hint="keep one of the two rows: a lesion counts once",
            )
        boxes[row.key].append(box)
        n = _number(row, "VolumeSlices", whole=True)
        if n_slices.setdefault(row.key, int(n)) != n:
            raise DataError(
                f"{row.where}: VolumeSlices {n:g}, an earlier row of the volume says other",
                hint=COMPARE,
            )
    if files["labels"] and files["boxes"]:
        _check_boxes(labels, boxes)
    where = ", ".join(str(path) for some in files.values() for path in some)
    refuse_two_studies((key[:2] for table in (labels, paths, boxes) for key in table), where)
    return Tables(labels, {key: tuple(found) for key, found in boxes.items()}, n_slices, paths)


def find_tables(*roots: Path) -> dict[str, list[Path]]:
    """The files of each kind below ``roots``, one for each published split that is there.

    Raises `DataError` for a missing kind, and as `table_files` does.
    """
    found = table_files(*roots)
    missing = [kind for kind in KINDS if not any(k == kind for k, _ in found)]
    if missing:
        raise DataError(
            f"{', '.join(map(str, roots))}: no table of {' and no table of '.join(missing)}; "
            f"expected a file such as BCS-DBT-{missing[0]}-train-v2.csv",
            hint=f"put the CSV files into the folder; {WHERE}",
        )
    return {kind: [path for (k, _), path in sorted(found.items()) if k == kind] for kind in KINDS}


def table_files(*roots: Path) -> dict[tuple[str, str], Path]:
    """The tables that are below ``roots``, by kind and published split; some or all may be missing.

    Raises `DataError` for two different files of one kind and split.
    """
    found: dict[tuple[str, str], Path] = {}
    for path in (path for root in roots for path in csv_files(root)):
        words = words_of(path)
        kinds = [kind for kind, needed in KINDS.items() if needed <= words]
        splits = sorted(words.intersection(SPLITS))
        if len(kinds) != 1 or len(splits) != 1:
            continue
        other = found.setdefault((kinds[0], splits[0]), path)
        if not alike(other, path):
            raise DataError(
                f"two different tables of {kinds[0]} for {splits[0]}: {other} and {path}",
                hint="keep the newer one in the folder (-v2, PHASE-2)",
            )
    return found


def _rows(files: Sequence[Path], kind: str) -> Iterator[_Row]:
    hint = f"a table of {kind} has {', '.join(COLUMNS[kind])}; {WHERE}"
    for path in files:
        for values, where in csv_rows(path, COLUMNS[kind], what="table", hint=hint):
            key = key_of(values)
            if not (_WORD.fullmatch(key.patient) and _WORD.fullmatch(key.study)):
                raise DataError(
                    f"{where}: PatientID {key.patient!r}, StudyUID {key.study!r}; "
                    "expected letters, digits, '.', '-' and '_'",
                    hint=COMPARE,
                )
            yield _Row(key, values, where)


def key_of(values: Mapping[str, str]) -> Key:
    """The key of a row that has its columns."""
    patient, study, view = (values[name].strip() for name in KEY)
    return Key(patient, study, view.lower())


def label_of(values: Mapping[str, str]) -> Label | None:
    """The label of a row; None where its classes are not one-hot or it has none.

    A table that went through pandas may say 1.0 for 1.
    """
    flags = [values.get(name, "").strip().removesuffix(".0") for name in CLASSES]
    return Label(flags.index("1")) if sorted(flags) == ["0", "0", "0", "1"] else None


def _unique(rows: Iterator[_Row], value: Callable[[_Row], T]) -> dict[Key, T]:
    out: dict[Key, T] = {}
    for row in rows:
        if row.key in out:
            raise DataError(
                f"{row.where}: volume {'/'.join(row.key)} is listed twice",
                hint="keep one of the two rows; splits share no volume",
            )
        out[row.key] = value(row)
    return out


def _label(row: _Row) -> Label:
    label = label_of(row.values)
    if label is None:
        shown = ", ".join(f"{name} {row.values[name].strip()!r}" for name in CLASSES)
        raise DataError(
            f"{row.where}: expected one label of four to be 1 and the others 0, got {shown}",
            hint=COMPARE,
        )
    return label


def _box(row: _Row) -> Box:
    name = row.values["Class"].strip().upper()
    if name not in ("BENIGN", "CANCER"):
        raise DataError(
            f"{row.where}: Class {row.values['Class']!r}, expected benign or cancer", hint=COMPARE
        )
    z = int(_number(row, "Slice", whole=True))
    x, y, width, height = (_number(row, side) for side in ("X", "Y", "Width", "Height"))
    if min(width, height) <= 0:
        raise DataError(f"{row.where}: a box of {width:g} x {height:g} pixels", hint=COMPARE)
    distortion = bool(_number(row, "AD", whole=True))
    return Box(z, x, y, width, height, Label[name], distortion)


def _same_place(one: Box, other: Box) -> bool:
    """Whether two boxes are one, whoever drew them and whatever they are called."""
    return (one.z, one.x, one.y, one.width, one.height) == (
        *(other.z, other.x, other.y, other.width, other.height),
    )


def _number(row: _Row, column: str, *, whole: bool = False) -> float:
    text = row.values[column]
    value = finite(text)
    if value is None or not 0 <= value < 1e9 or (whole and value != int(value)):
        kind = "whole number" if whole else "number"
        raise DataError(
            f"{row.where}: {column} {text!r}, expected a {kind} of at least 0", hint=COMPARE
        )
    return value


def _check_boxes(labels: Mapping[Key, Label], boxes: Mapping[Key, Sequence[Box]]) -> None:
    bare = [key for key, label in labels.items() if label.abnormal and key not in boxes]
    if bare:
        shown = ", ".join("/".join(key) for key in bare[:3])
        raise DataError(
            f"{len(bare)} volumes are labelled benign or cancer and have no box: {shown}",
            hint=f"put the boxes of every split whose labels are there into the folder; {WHERE}",
        )
    for key, found in boxes.items():
        others = {box.label for box in found} - {labels[key]}
        if others:
            raise DataError(
                f"volume {'/'.join(key)}: labelled {labels[key].name.lower()}, "
                f"but has a {others.pop().name.lower()} box",
                hint="put the labels and the boxes of the same release together",
            )
