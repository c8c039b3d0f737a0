"""BCS-DBT as it is downloaded: the published tables, and DICOM files wherever a download tool put them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from dbtssl import config
from dbtssl.data.records import Volume
from dbtssl.data.sources.layouts import expectations, locate
from dbtssl.data.tables.csv_rows import COLLECTION
from dbtssl.data.tables.published_tables import read_tables
from dbtssl.errors import DataError
from dbtssl.folders import expanded
from dbtssl.interfaces import RawVolume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtssl.data.sources.layouts import Located, State
    from dbtssl.data.tables.published_tables import Key, Tables

SHOWN = 3  # volumes that a message names


class BcsDbt:
    """Breast Cancer Screening - Digital Breast Tomosynthesis (Buda et al. 2021, TCIA, doi 10.7937/E4WT-CD02).

    The root holds the three tables and the images, in any layout of `data.sources.layouts`; it may also be the folder
    `Breast-Cancer-Screening-DBT`, with the tables beside it. Further folders may hold further tables and images.
    """

    public: ClassVar[bool] = True  # its ids are published and name nobody

    class Config(config.Config):
        """Where else the data lies, and whether some of it may be missing."""

        roots: tuple[Path, ...] = Field(
            default=(), description="further folders, on other disks, that hold tables or images"
        )
        partial: bool = Field(
            default=False,
            description="leave listed volumes without a file out; otherwise they are refused",
        )

    def __init__(self, config: Config | None = None) -> None:
        self._config = config or self.Config()

    def volumes(self, root: Path) -> Sequence[RawVolume]:
        """List the volumes of all tables below the roots, sorted by patient, study and view.

        No file is opened that its folders' names explain. Raises `DataError` for a missing or empty folder, a table
        that `read_tables` refuses, listed volumes without a file, folders that cannot be read, and files that are
        ambiguous or whose header contradicts the table.
        """
        roots = (root, *map(expanded, self._config.roots))
        tables = read_tables(*table_roots(roots))
        listed = {key: tables.paths.get(key, "") for key in tables.labels}
        located = locate(listed, roots)
        found = located.keys("found")
        self._check(located, roots)
        expected = expectations(listed)
        return [
            RawVolume(_record(key, tables), located.places[key].files[0], expected=expected[key])
            for key in found
        ]

    def _check(self, located: Located, roots: Sequence[Path]) -> None:
        """Refuse what is not found, but for what the option partial allows."""
        where, n = ", ".join(map(str, roots)), len(located.places)
        look = f"see dbtssl data check {' '.join(map(str, roots))}"
        unclear: tuple[tuple[State, str], ...] = (
            ("contradicted", "have a file whose header contradicts the table"),
            ("ambiguous", "are ambiguous"),
        )
        for state, what in unclear:
            if unsure := located.keys(state):
                first = located.places[unsure[0]]
                files = "" if state == "ambiguous" else f"; {', '.join(map(str, first.files))}"
                raise DataError(
                    f"{where}: {len(unsure)} of {n} listed volumes {what}: "
                    f"{_shown(unsure)} ({first.note}{files})",
                    hint=f"{first.hint}; {look}",
                )
        missing = located.keys("missing")
        if not missing or (self._config.partial and located.keys("found") and not located.problems):
            return
        noted = next((place.note for key in missing if (place := located.places[key]).note), "")
        if located.problems:
            noted = f"{len(located.problems)} of its files or folders cannot be read, {located.problems[0]}"
            hint = f"make all of it readable first: the volumes may be there; {look}"
        else:
            hint = (
                "download them, or take what is there with the option partial=true, "
                f"or remove their rows from the tables; {look}"
            )
        raise DataError(
            f"{where}: {len(missing)} of {n} listed volumes have no file: {_shown(missing)}"
            f"{f' ({noted})' if noted else ''}",
            hint=hint,
        )


def table_roots(roots: Sequence[Path]) -> list[Path]:
    """The folders to look for tables in: ``roots``, or what holds the collection's own folder.

    Raises `DataError` for a folder that is missing or empty.
    """
    for root in roots:
        if not root.is_dir():
            raise DataError(f"no such folder: {root}", hint="check the path")
        if not any(root.iterdir()):
            raise DataError(
                f"{root} is empty", hint=f"expected the tables and the folder {COLLECTION}"
            )
    return [root.parent if root.name == COLLECTION else root for root in roots]


def _shown(keys: Sequence[Key]) -> str:
    more = ", ..." if len(keys) > SHOWN else ""
    return ", ".join("/".join(key) for key in keys[:SHOWN]) + more


def _record(key: Key, tables: Tables) -> Volume:
    return Volume(
        *key,
        n_slices=tables.n_slices.get(key, 0),  # 0: only the volumes with a box have it in a table
        rows=0,
        columns=0,
        label=tables.labels[key],
        boxes=tables.boxes.get(key, ()),
    )
