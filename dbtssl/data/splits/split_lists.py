"""Splits that come as lists of volumes: SIFT-DBT's own, and the official one that the published tables' names tell.

A list is a CSV file with the columns PatientID, StudyUID and View, one row a volume. SIFT-DBT's are
`BCS-DBT_val_label_v2.csv` and `BCS-DBT_test_label_v2.csv`; its training part is the published training table less the
patients of these two. The official parts are the file names: *file paths* or *labels*, and *train*, *validation* or
*test*.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

from dbtssl.config import digest
from dbtssl.data.tables.csv_rows import alike, csv_files, csv_rows, words_of
from dbtssl.data.tables.identifiers import as_one
from dbtssl.data.tables.published_tables import KEY, Key, key_of, label_of
from dbtssl.errors import DataError
from dbtssl.folders import expanded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dbtssl.data.records import Label

Part = Literal["train", "val", "test"]
Which = Literal["sift-dbt", "official"]

WORDS: dict[str, Part] = {"train": "train", "val": "val", "validation": "val", "test": "test"}
SHOWN = 5  # patients that a message names
EXPECTED = (
    "expected SIFT-DBT's BCS-DBT_val_label_v2.csv and BCS-DBT_test_label_v2.csv beside "
    "BCS-DBT-labels-train-v2.csv, or the published file-paths or labels of train, validation and test"
)


class Listed(NamedTuple):
    """What a list says of one volume; ``label`` is None, and a path empty, where its file has no such column."""

    part: Part
    label: Label | None = None
    classic_path: str = ""
    descriptive_path: str = ""


@dataclass(frozen=True)
class SplitLists:
    """The part of each listed volume by its published key; no patient is in two parts."""

    name: Which
    listed: Mapping[Key, Listed]
    files: tuple[Path, ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the sorted keys and their parts, in hex: equal for lists that divide alike."""
        return digest(sorted([*key, row.part] for key, row in self.listed.items()))


class _File(NamedTuple):
    path: Path
    kind: Literal["list", "labels", "file-paths"]
    part: Part


def read_lists(where: str | Path) -> SplitLists:
    """Read the lists in a folder, or up to two folders below it.

    ``where`` is the folder; ``official:FOLDER`` and ``sift-dbt:FOLDER`` choose where it holds both, otherwise
    SIFT-DBT's own are taken. Raises `DataError` for a missing folder or part, missing columns, two different files for
    one part, and a patient in two parts.
    """
    prefix, colon, rest = str(where).partition(":")
    asked: Which | None = None
    if colon and prefix in ("sift-dbt", "official"):
        asked, where = ("official" if prefix == "official" else "sift-dbt"), rest
    folder = expanded(where)
    if not folder.is_dir():
        raise DataError(f"lists of a split: no such folder: {folder}", hint=EXPECTED)
    files = _find(folder)
    own = any(f.kind == "list" for f in files)
    chosen = asked or ("sift-dbt" if own else "official")
    lists = _own(folder, files) if chosen == "sift-dbt" else _official(folder, files)
    _check_patients(lists)
    return lists


def read_rows(folder: Path) -> dict[Key, Listed]:
    """What all lists and published tables in ``folder`` and up to two folders below it say, whatever their parts.

    Empty where there are none.
    """
    rows: dict[Key, Listed] = {}
    for file in _find(folder):
        for key, row in _rows(file):
            rows[key] = _joined(rows[key], row) if key in rows else row
    return rows


def _find(folder: Path) -> list[_File]:
    found: dict[tuple[str, Part], _File] = {}
    for path in csv_files(folder):
        words = words_of(path)
        parts = {WORDS[word] for word in words & set(WORDS)}
        if len(parts) != 1:
            continue
        kind: Literal["list", "labels", "file-paths"]
        if words & {"label", "list"}:
            kind = "list"
        elif "labels" in words:
            kind = "labels"
        elif {"file", "paths"} <= words:
            kind = "file-paths"
        else:
            continue
        one = _File(path, kind, parts.pop())
        other = found.setdefault((kind, one.part), one).path
        if not alike(other, path):
            raise DataError(
                f"two different lists of {kind} for {one.part}: {other} and {path}",
                hint="keep one of them in the folder, or give a folder that holds one",
            )
    return list(found.values())


def _own(folder: Path, files: list[_File]) -> SplitLists:
    """SIFT-DBT's parts; training is its own list where it is there, else the published table less the patients."""
    used = [f for f in files if f.kind == "list"]
    missing = sorted({"val", "test"} - {f.part for f in used})
    if missing:
        raise DataError(f"{folder}: no list for {' and '.join(missing)}", hint=EXPECTED)
    listed = _merged(used)
    if not any(f.part == "train" for f in used):
        source = next((f for f in files if f.kind == "labels" and f.part == "train"), None)
        if source is None:
            raise DataError(
                f"{folder}: lists of validation and test, but neither a list nor the published labels of train",
                hint="put BCS-DBT-labels-train-v2.csv beside them: train is that table less the patients of the two",
            )
        taken = {key.patient for key in listed}
        listed |= {key: row for key, row in _rows(source) if key.patient not in taken}
        used.append(source)
    return SplitLists("sift-dbt", listed, tuple(f.path for f in used))


def _official(folder: Path, files: list[_File]) -> SplitLists:
    used = [f for f in files if f.kind != "list"]
    missing = sorted({"train", "val", "test"} - {f.part for f in used})
    if missing:
        raise DataError(f"{folder}: no published table for {' and '.join(missing)}", hint=EXPECTED)
    return SplitLists("official", _merged(used), tuple(f.path for f in used))


def _merged(files: list[_File]) -> dict[Key, Listed]:
    """The rows of all ``files``; a volume may be in several of one part, never of two."""
    listed: dict[Key, Listed] = {}
    for f in files:
        for key, row in _rows(f):
            known = listed.get(key)
            if known is not None and known.part != row.part:
                raise DataError(
                    f"{f.path}: volume {'/'.join(key)} is of {row.part} here and of {known.part} in another list",
                    hint="a patient's volumes belong into one part; fix the lists",
                )
            listed[key] = row if known is None else _joined(known, row)
    return listed


def _joined(one: Listed, other: Listed) -> Listed:
    """Two rows on the same volume, of a table of labels and one of file paths."""
    return Listed(
        one.part,
        one.label if one.label is not None else other.label,
        one.classic_path or other.classic_path,
        one.descriptive_path or other.descriptive_path,
    )


def _rows(file: _File) -> Iterator[tuple[Key, Listed]]:
    seen: set[Key] = set()
    hint = f"a list has one row a volume and the columns {', '.join(KEY)}; {EXPECTED}"
    for values, where in csv_rows(file.path, KEY, what="list", hint=hint):
        key = key_of(values)
        if key in seen:
            raise DataError(
                f"{where}: volume {'/'.join(key)} is listed twice", hint="remove one of the rows"
            )
        seen.add(key)
        paths = (values.get(f"{kind}_path", "").strip() for kind in ("classic", "descriptive"))
        yield key, Listed(file.part, label_of(values), *paths)


def _check_patients(lists: SplitLists) -> None:
    parts: dict[str, set[str]] = {}
    spelt: dict[str, set[str]] = {}
    for key, row in lists.listed.items():
        parts.setdefault(as_one(key.patient), set()).add(row.part)
        spelt.setdefault(as_one(key.patient), set()).add(key.patient)
    both = sorted((sorted(spelt[one]), sorted(of)) for one, of in parts.items() if len(of) > 1)
    if both:
        shown = ", ".join(f"{' or '.join(p)} ({' and '.join(of)})" for p, of in both[:SHOWN])
        more = ", ..." if len(both) > SHOWN else ""
        raise DataError(
            f"{len(both)} patients are in two parts of the split: {shown}{more}",
            hint="a patient's volumes belong into one part; fix the lists",
        )
