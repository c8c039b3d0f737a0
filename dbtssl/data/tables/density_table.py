"""A table of breast densities: a CSV file with PatientID, StudyUID, Breast (l or r) or View, and density.

Density is any number that grows with it: a share, percent, or BI-RADS categories as 1 to 4.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dbtssl.data.records import VIEW
from dbtssl.data.tables.csv_rows import csv_rows, finite
from dbtssl.data.tables.identifiers import refuse_two_studies
from dbtssl.data.tables.published_tables import Key
from dbtssl.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dbtssl.data.records import Volume

NEEDED = ("PatientID", "StudyUID", "density")
BREASTS = ("l", "r")
HINT = (
    "expected the columns PatientID, StudyUID, density, and either Breast (l or r) or View (lcc, rmlo, ...), "
    "one row a breast or volume"
)


def read_density(path: Path) -> dict[Key, float]:
    """Densities by patient, study and breast (``l`` or ``r``) or view, as the source names them.

    Raises `DataError` for a file that cannot be read, missing columns, a breast or view that is none, a density that is
    no finite number of 0 or more, a row that is there twice, and a table without rows. Messages name lines, no patient.
    """
    densities: dict[Key, float] = {}
    for values, where in csv_rows(path, NEEDED, what="table of densities", hint=HINT):
        key = _key(values, where)
        if key in densities:
            raise DataError(
                f"{where}: the {'breast' if key.view in BREASTS else 'view'} of an earlier row once more",
                hint="keep one of the two rows",
            )
        densities[key] = _number(values["density"].strip(), where)
    refuse_two_studies((key[:2] for key in densities), str(path))
    if not densities:
        raise DataError(f"{path} is a table without rows", hint=HINT)
    return densities


def density_of(densities: Mapping[Key, float], volume: Volume) -> float:
    """The density of the volume, or of its breast; nan where the table has neither."""
    of_view = densities.get(Key(volume.patient, volume.study, volume.view))
    if of_view is not None:
        return of_view
    return densities.get(Key(volume.patient, volume.study, volume.side), math.nan)


def _key(values: Mapping[str, str], where: str) -> Key:
    named = [name for name in ("Breast", "View") if name in values]
    if len(named) != 1:
        raise DataError(
            f"{where.rpartition(',')[0]}: it has {' and '.join(named) or 'neither Breast nor View'}, "
            "expected one of Breast and View",
            hint=HINT,
        )
    what = values[named[0]].strip().lower()
    if not (what in BREASTS if named[0] == "Breast" else VIEW.match(what)):
        expected = "l or r" if named[0] == "Breast" else "lcc, lmlo, rcc or rmlo"
        raise DataError(
            f"{where}: {named[0]} is {values[named[0]]!r}, expected {expected}", hint=HINT
        )
    patient, study = values["PatientID"].strip(), values["StudyUID"].strip()
    if not patient or not study:
        raise DataError(f"{where}: PatientID or StudyUID is empty", hint=HINT)
    return Key(patient, study, what)


def _number(text: str, where: str) -> float:
    value = finite(text)
    if value is None or value < 0:
        raise DataError(
            f"{where}: density is {text!r}, expected a number of 0 or more",
            hint="a share, percent, or BI-RADS categories a to d as 1 to 4, with a decimal point; "
            "leave out breasts of unknown density",
        )
    return value
