"""Which DICOM files lie below some folders, and what the beginning of one says about whose it is.

Nothing is written and no more than a file's first megabyte is read, so read-only media and slow disks are fine.
"""

from __future__ import annotations

import os
import re
import warnings
from collections import deque
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dbtssl.errors import system_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

BEGINNING = 1 << 20  # bytes; the fields below come before any frame
SHARED = 0x52009229  # the shared functional groups, the last of the fields in the order of a file
_GROUPS = ("SharedFunctionalGroupsSequence", "FrameAnatomySequence")

_BARE_UID = re.compile(r"(MG_)?\d+(\.\d+){4,}")  # a file that is named by its UID, without .dcm


class DicomFile(NamedTuple):
    """A file that is named like DICOM; ``size`` in bytes."""

    path: Path
    size: int


class Ids(NamedTuple):
    """What a header says about whose the file is; empty where it says nothing."""

    series: str
    patient: str
    study: str  # Study ID, which the published tables call StudyUID
    projection: str  # cc or mlo
    study_uid: str = ""  # Study Instance UID
    side: str = ""  # l or r; BCS-DBT's Frame Laterality, which is always L, is none


def dicom_files(roots: Sequence[Path]) -> tuple[list[DicomFile], list[str]]:
    """Files below ``roots`` that are named like DICOM, sorted within each folder, and what could not be looked into.

    A file counts once, however many symbolic links lead to it, and links that loop are followed once. Links come last,
    so that a file is known by its own place rather than by a link's.
    """
    files: list[DicomFile] = []
    linked: list[tuple[Path, Path]] = []
    problems: list[str] = []
    seen: set[Path] = set()
    folders = deque((root, Path(os.path.realpath(root))) for root in roots)
    links: deque[tuple[Path, Path]] = deque()
    while folders or links:
        folder, real = (folders or links).popleft()
        if real in seen:
            continue
        seen.add(real)
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as exc:
            problems.append(f"{folder}: {exc.strerror}")
            continue
        for entry in entries:
            if entry.name.startswith("."):  # also the ._1-1.dcm of macOS
                continue
            path, link = folder / entry.name, entry.is_symlink()
            target = Path(os.path.realpath(path)) if link else real / entry.name
            try:
                if entry.is_dir():
                    (links if link else folders).append((path, target))
                elif _named_like_dicom(entry.name) and entry.is_file():
                    if link:
                        linked.append((path, target))
                    else:
                        files.append(DicomFile(path, entry.stat().st_size))
                        seen.add(target)
            except OSError as exc:  # a link that leads to itself
                problems.append(f"{path}: {exc.strerror}")
    for path, target in linked:
        if target not in seen:
            seen.add(target)
            try:
                files.append(DicomFile(path, path.stat().st_size))
            except OSError as exc:
                problems.append(f"{path}: {exc.strerror}")
    return files, problems


def read_ids(path: Path) -> Ids | None:
    """What the beginning of ``path`` says about whose it is; None for a file that cannot be read as DICOM.

    Raises `DataError` where the system cannot open or read the file.
    """
    from pydicom.filereader import read_partial  # UIDs in names find nearly all

    try:
        with path.open("rb") as file:
            beginning = BytesIO(file.read(BEGINNING))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ids_of(read_partial(beginning, stop_when=_after_shared_groups))
    except Exception as exc:  # pydicom raises a dozen types on bad bytes
        if error := system_error(exc, f"{path} cannot be read"):
            raise error from exc
        return None


def ids_of(ds: Dataset) -> Ids:
    """What a header says about whose it is; values that are none of the standard's count as none."""
    view = _text(ds, "ViewPosition").lower()
    sides = {_text(ds, name).lower() for name in ("ImageLaterality", "Laterality")}
    frame = ds
    for name in _GROUPS:
        frame = (frame.get(name) or [{}])[0]
    sides.add(str(frame.get("FrameLaterality") or "").strip().lower().replace("l", ""))
    sides &= {"l", "r"}
    return Ids(
        _text(ds, "SeriesInstanceUID"),
        _text(ds, "PatientID"),
        _text(ds, "StudyID"),
        view if view in ("cc", "mlo") else "",
        _text(ds, "StudyInstanceUID"),
        "".join(sorted(sides)),
    )


def _named_like_dicom(name: str) -> bool:
    return name.lower().endswith(".dcm") or _BARE_UID.fullmatch(name) is not None


def _after_shared_groups(tag: BaseTag, vr: str | None, length: int) -> bool:
    return bool(tag > SHARED)


def _text(ds: Dataset, name: str) -> str:
    return str(ds.get(name) or "").strip()
