"""BCS-DBT as it is downloaded: the published tables, and DICOM files in the classic folder layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl import config
from dbtssl.data.records import Volume
from dbtssl.data.tables import COLLECTION, Key, read_tables
from dbtssl.errors import DataError
from dbtssl.interfaces import RawVolume

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dbtssl.data.tables import Tables

SHOWN = 3  # missing files that a message names


class BcsDbt:
    """Breast Cancer Screening - Digital Breast Tomosynthesis (Buda et al. 2021, TCIA, doi 10.7937/E4WT-CD02).

    The root holds the three tables and the folder `Breast-Cancer-Screening-DBT`, itself or in folders `manifest-*`; it
    may also be that folder, with the tables beside it.
    """

    class Config(config.Config):
        """Nothing to set."""

    def volumes(self, root: Path) -> Sequence[RawVolume]:
        """List the volumes of all tables below ``root``, sorted by patient, study and view; no file is opened.

        Raises `DataError` for a missing or empty folder, a table that `read_tables` refuses, and listed volumes without
        a file.
        """
        if not root.is_dir():
            raise DataError(f"no such folder: {root}", hint="check the path")
        if not any(root.iterdir()):
            raise DataError(
                f"{root} is empty", hint=f"expected the tables and the folder {COLLECTION}"
            )
        if root.name == COLLECTION:
            root = root.parent
        tables = read_tables(root)
        places = image_roots(root)
        found, missing = [], []
        for key in sorted(tables.labels):
            path = find_file(tables.paths.get(key, ""), places)
            if path is None:
                missing.append(key)
            else:
                found.append(RawVolume(_record(key, tables), path))
        if missing:
            shown = ", ".join("/".join(key) for key in missing[:SHOWN])
            more = ", ..." if len(missing) > SHOWN else ""
            raise DataError(
                f"{root}: {len(missing)} of {len(tables.labels)} listed volumes have no file: {shown}{more}",
                hint="download them, or remove their rows from the tables; "
                f"a volume lies at the classic_path of its row, in {COLLECTION}",
            )
        return found


def image_roots(root: Path) -> list[Path]:
    """The folders that paths of the table start from: ``root`` and the retriever's `manifest-*` in it."""
    places = [
        place for place in (root, *sorted(root.glob("manifest-*"))) if (place / COLLECTION).is_dir()
    ]
    if not places:
        raise DataError(
            f"{root}: no folder {COLLECTION}, here or in a folder manifest-*",
            hint="give the folder that the NBIA Data Retriever wrote into, classic layout",
        )
    return places


def find_file(classic_path: str, places: Sequence[Path]) -> Path | None:
    """The file of the volume with that ``classic_path``, or None. Other layouts belong here."""
    if not classic_path.strip():
        return None
    return next((p for place in places if (p := place / classic_path.strip()).is_file()), None)


def _record(key: Key, tables: Tables) -> Volume:
    return Volume(
        *key,
        n_slices=tables.n_slices.get(key, 0),  # 0: only the volumes with a box have it in a table
        rows=0,
        columns=0,
        label=tables.labels[key],
        boxes=tables.boxes.get(key, ()),
    )
