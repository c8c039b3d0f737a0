"""For a source: where volumes come from, and how a format that is not one DICOM file is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.api.table import lazy_names

if TYPE_CHECKING:
    from dbtssl.data.dicom.header import Header as Header
    from dbtssl.interfaces import Expected as Expected
    from dbtssl.interfaces import FrameReader as FrameReader
    from dbtssl.interfaces import RawVolume as RawVolume
    from dbtssl.interfaces import SaysPublic as SaysPublic
    from dbtssl.interfaces import Source as Source
else:  # what no type checker reads, so that it knows a name that does not exist
    __all__, __getattr__, __dir__ = lazy_names(__name__)
