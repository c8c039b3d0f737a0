"""The phantom cohort as a source: BCS-DBT's tables and layout, and `phantom.json`, which says what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbtssl.data.sources.bcs_dbt import BcsDbt
from dbtssl.data.tables.csv_rows import COLLECTION
from dbtssl.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dbtssl.interfaces import RawVolume

MARKER = "phantom.json"


def is_phantom(root: Path) -> bool:
    """Whether ``root``, a folder or its collection of images, was written by the phantom, whatever source reads it."""
    return ((root.parent if root.name == COLLECTION else root) / MARKER).is_file()


class Phantom:
    """A folder that `dbtssl phantom` wrote."""

    public: ClassVar[bool] = True  # its patients are made up

    def volumes(self, root: Path) -> Sequence[RawVolume]:
        """As `BcsDbt.volumes`; refuses a folder without `phantom.json`."""
        if root.is_dir() and not is_phantom(root):
            raise DataError(
                f"{root} is not a phantom: there is no {MARKER}",
                hint="make one with dbtssl phantom OUT, or read real data with the source bcs-dbt",
            )
        return BcsDbt().volumes(root)
