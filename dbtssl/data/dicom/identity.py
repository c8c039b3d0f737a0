"""Whether a file is the volume that a table says: what its header tells, held against the row.

Two things are no contradiction. BCS-DBT writes Frame Laterality L into every file, of right breasts as well, so an L
there says nothing. And ids are compared only where both are of one form: a header may hold ids that were replaced in
the table, or the reverse.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dbtssl.data.dicom.dicom_files import read_ids
from dbtssl.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from dbtssl.data.dicom.dicom_files import Ids
    from dbtssl.interfaces import Expected

UID = re.compile(r"\d+(\.\d+)+")
NEXT = (
    "put the file that the row names in its place (its SeriesInstanceUID finds it in the archive), or correct the row; "
    "dbtssl data check ROOT looks at all files of BCS-DBT"
)


def contradictions(ids: Ids, expected: Expected) -> list[str]:
    """What of a header says another volume than ``expected``, each with both values where they may be shown."""
    view, side, projection = (
        expected.view,
        expected.view[:1],
        expected.view[1:].rstrip("0123456789"),
    )
    out = []
    for name, found, told in (
        ("SeriesInstanceUID", _uid(ids.series), _uid(expected.series_uid)),
        ("StudyInstanceUID", _uid(ids.study_uid), _uid(expected.study_uid)),
        ("PatientID", ids.patient, expected.patient),
        ("StudyID", ids.study, expected.study),
    ):
        if found and told and found != told and _alike(found, told):
            both = (
                f"{found} in the header, {told} in the table" if expected.public else "of another"
            )
            out.append(f"{name} {both}")
    for name, found, told in (
        ("laterality", ids.side, side),
        ("ViewPosition", ids.projection, projection),
    ):
        if found and told and found != told:
            out.append(f"{name} {found.upper()} in the header, {view} in the table")
    return out


def check_identity(path: Path, expected: Expected, ids: Ids | None = None) -> None:
    """Refuse the file at ``path`` where its header contradicts ``expected``; ``ids`` is what it says, if at hand.

    A file that cannot be read as DICOM says nothing here. Raises `DataError` also where the system cannot read it.
    """
    said = read_ids(path) if ids is None else ids
    wrong = contradictions(said, expected) if said else []
    if wrong:
        raise DataError(
            f"{path}: the header contradicts the table's row: {'; '.join(wrong)}", hint=NEXT
        )


def _uid(text: str) -> str:
    return text if UID.fullmatch(text) else ""


def _alike(one: str, other: str) -> bool:
    """Whether two ids are of one form: UIDs, or the same letters with other digits, such as DBT-P00013."""
    if UID.fullmatch(one):
        return bool(UID.fullmatch(other))
    form = re.sub(r"\d+", "0", one)
    return form == re.sub(r"\d+", "0", other) and any(c.isalpha() for c in form)
