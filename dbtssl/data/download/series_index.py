"""BCS-DBT in the series index of the NCI Imaging Data Commons (IDC), and whose volumes to take of it.

The index is the Parquet file that the package idc-index-data carries: one row a series, for every collection of IDC.
It tells patient, study, series, size and licence, and nothing of splits or labels: those are in the tables that Duke
published at TCIA, so a split is chosen by the patients whom a table lists.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from dbtssl.data.tables.csv_rows import csv_rows, text_lines
from dbtssl.data.tables.identifiers import unseen
from dbtssl.data.tables.published_tables import WHERE, table_files
from dbtssl.errors import DataError, system_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence, Set

COLLECTION_ID = "breast_cancer_screening_dbt"
INSTALL = "pip install 'dbtssl[idc]'"
SHOWN = 5  # patients that a message names

Split = Literal["train", "validation", "test"]


class Series(NamedTuple):
    """One volume at IDC: a series of one file, ``size`` bytes long."""

    patient: str
    study_uid: str
    uid: str
    modality: str
    size: int
    licence: str


@dataclass(frozen=True)
class Index:
    """The series of BCS-DBT by patient, study and series; ``version`` is the release of idc-index-data."""

    version: str
    series: tuple[Series, ...]


COLUMNS = {  # of the index -> of a `Series`
    "PatientID": "patient",
    "StudyInstanceUID": "study_uid",
    "SeriesInstanceUID": "uid",
    "Modality": "modality",
    "series_size_MB": "size",
    "license_short_name": "licence",
}


def shipped_index() -> Index:
    """The index that the installed idc-index-data carries. Raises `DataError` where it is not installed."""
    package = _index_package()
    return Index(package.__version__, read_index(Path(package.IDC_INDEX_PARQUET_FILEPATH)))


def _index_package() -> Any:
    try:
        return importlib.import_module("idc_index_data")
    except ImportError:
        raise DataError(
            "the series index of IDC is not installed (package idc-index-data, of the extra idc)",
            hint=INSTALL,
        ) from None


def read_index(path: Path) -> tuple[Series, ...]:
    """Read the series of BCS-DBT from an IDC index, sorted; the column of sizes is in units of 10^6 bytes.

    Raises `DataError` for a file that is no such index and for one without the collection.
    """
    try:
        missing = {*COLUMNS, "collection_id"} - set(pq.read_schema(path).names)
        if missing:
            raise DataError(
                f"{path}: missing columns {', '.join(sorted(missing))}",
                hint=f"expected the index of idc-index-data; {INSTALL}",
            )
        only = [("collection_id", "=", COLLECTION_ID)]
        rows = pq.read_table(path, columns=list(COLUMNS), filters=only).to_pylist()
    except (OSError, pa.ArrowInvalid) as exc:
        if not isinstance(exc, FileNotFoundError) and (
            error := system_error(exc, f"{path} cannot be read")
        ):
            raise error from exc
        raise DataError(f"{path} cannot be read as an index of IDC: {exc}", hint=INSTALL) from None
    if not rows:
        raise DataError(
            f"{path}: no series of the collection {COLLECTION_ID}",
            hint=f"expected the index of idc-index-data; {INSTALL}",
        )
    named = ({name: row[column] for column, name in COLUMNS.items()} for row in rows)
    return tuple(sorted(Series(**row | {"size": round(row["size"] * 1e6)}) for row in named))


def select(
    series: Sequence[Series], chosen: Iterable[Set[str]] = (), limit: int | None = None
) -> tuple[Series, ...]:
    """All series of the patients who are in every set of ``chosen``; of these the first ``limit`` patients by id.

    Patients come whole: how many volumes a study has tells its label. Raises `DataError` for a patient whom the index
    does not have, and where nobody is left.
    """
    known = {one.patient for one in series}
    wanted = set(known)
    for patients in chosen:
        strangers = sorted(patients - known)
        if strangers:
            shown = ", ".join(strangers[:SHOWN]) + (", ..." if len(strangers) > SHOWN else "")
            raise DataError(
                f"{len(strangers)} of {len(patients)} patients are not in the index: {shown}",
                hint="an id looks like DBT-P00013, as in the column PatientID of the published tables",
            )
        wanted &= patients
    if not wanted:
        raise DataError("no patient is in all that was asked for", hint="ask for less at once")
    taken = set(sorted(wanted)[:limit])
    return tuple(one for one in series if one.patient in taken)


def patients_of_split(folder: Path, split: Split) -> frozenset[str]:
    """The patients of a published split: all whom its tables of labels and of file paths list.

    Raises `DataError` where ``folder`` holds neither of the two, and as `table_files` does.
    """
    files = table_files(folder)
    kinds = ("labels", "file-paths")
    lists = [patients_in(files[kind, split]) for kind in kinds if (kind, split) in files]
    if not lists:
        raise DataError(
            f"{folder}: no published table of {split}, such as BCS-DBT-file-paths-{split}-v2.csv; "
            "the index does not tell which patients are in which split",
            hint=f"name their folder with --tables; {WHERE}",
        )
    return frozenset().union(*lists)


def patients_in(path: Path) -> frozenset[str]:
    """The patients whom a file lists: a CSV table with a column PatientID, or plain text with one id a line.

    In plain text empty lines and what follows a ``#`` do not count. Raises `DataError` for a file that cannot be read
    or lists nobody, and for a table without the column.
    """
    what, hint = "list of patients", "write one id a line, or a table with a column PatientID"
    lines = list(text_lines(path, what, hint))
    head = lines[0][1].split(",") if lines else []
    if any(name.strip(' \t"') == "PatientID" for name in head):
        rows = csv_rows(path, ("PatientID",), what=what, hint=hint)
        found = {row["PatientID"] for row, _ in rows}
    elif len(head) > 1:
        raise DataError(
            f"{path}: a table without the column PatientID; found {', '.join(head)}",
            hint="give a table with that column, or plain text with one id a line",
        )
    else:
        found = set()
        for number, line in lines:
            patient = line.partition("#")[0].strip(" \t")
            if strange := unseen(patient):
                raise DataError(f"{path}, line {number}: the id holds {strange}", hint=hint)
            found.add(patient)
    if not found - {""}:
        raise DataError(f"{path} lists no patient", hint="write one id a line")
    return frozenset(found - {""})
