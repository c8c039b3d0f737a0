"""Where volumes come from, before they are prepared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from dbtssl.data.dicom.frames import Header
    from dbtssl.data.records import Volume


class Source(Protocol):
    """A place where volumes come from."""

    def volumes(self, root: Path) -> Sequence[RawVolume]:
        """List the volumes below ``root`` from tables and folders alone; no image is decoded."""
        ...


class FrameReader(Protocol):
    """Reads a volume that is not one multi-frame DICOM file. It is sent to worker processes, so it must pickle."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the volume is made of."""
        ...

    def header(self) -> Header:
        """Slices, rows, columns and window; a `DataError` for a file that cannot be read."""
        ...

    def frames(self, slices: Iterable[int] | None = None) -> Iterator[NDArray[np.uint16]]:
        """All frames in order, or those of ``slices``: stored values ``(rows, columns)`` at full resolution."""
        ...


@dataclass(frozen=True)
class Expected:
    """What a source's tables say of whose a volume's file is; empty where they do not tell.

    ``study`` is the DICOM Study ID, the others are named as in DICOM. A file whose header contradicts any of it is
    refused. ``public`` says that ids and UIDs may be shown in that message.
    """

    patient: str = ""
    study: str = ""
    view: str = ""
    series_uid: str = ""
    study_uid: str = ""
    public: bool = False


@dataclass(frozen=True)
class RawVolume:
    """A volume before preparation: its record as far as the tables know it, and the file that holds it.

    ``volume.rows``, ``columns``, ``window`` and ``crop`` are placeholders until the file is read, and so is
    ``n_slices`` where it is 0; another number is checked against the file. Box coordinates are full-resolution
    pixels of the oriented frame.

    Without a ``reader``, ``path`` is one multi-frame DICOM file; with one, ``path`` is the first of its files.
    ``oriented`` says that boxes and pixels share a frame already, so that nothing is turned. ``expected`` is what the
    header of ``path`` is held against; a ``reader`` does so itself.
    """

    volume: Volume
    path: Path
    reader: FrameReader | None = None
    oriented: bool = False
    expected: Expected = Expected()

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the volume is made of."""
        return (self.path,) if self.reader is None else self.reader.files
