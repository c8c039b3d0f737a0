"""Multi-frame tomosynthesis DICOM: the few header fields that are needed, and its frames one at a time.

Nothing else of a header is read, kept or shown.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import UID

from dbtssl.data.records import Window
from dbtssl.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

TOMOSYNTHESIS = UID("1.2.840.10008.5.1.4.1.1.13.1.3")  # Breast Tomosynthesis Image Storage
PLAIN = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "PixelRepresentation": 0}
DAMAGED = "the file is incomplete or damaged: download it again"

_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_VOI, _WINDOW = "FrameVOILUTSequence", ("WindowCenter", "WindowWidth")
_RESCALE = {"RescaleSlope": 1.0, "RescaleIntercept": 0.0}
_SIZE = ("NumberOfFrames", "Rows", "Columns")
_FIELDS = ["SOPClassUID", *_SIZE, *PLAIN, *_WINDOW, *_RESCALE, _SHARED, _PER_FRAME]


class Header(NamedTuple):
    """What of a header is used; ``window`` is in stored values."""

    n_slices: int
    rows: int
    columns: int
    window: Window


def read_header(path: Path) -> Header:
    """Read and check the header of a tomosynthesis volume.

    Raises `DataError` for a file that is missing, no DICOM, not tomosynthesis, cut off in its header, not plain
    grey (``PLAIN``, identity rescale), or without a window.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file", hint="download the volume, or check the folder")
    with _refused(f"{path}: the header cannot be read"):
        try:
            ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_FIELDS)
        except InvalidDicomError as exc:
            raise DataError(f"{path}: not a DICOM file", hint=DAMAGED) from exc
        kind = ds.get("SOPClassUID")
        if kind != TOMOSYNTHESIS:
            found = kind.name if isinstance(kind, UID) else "no SOP class"
            raise DataError(
                f"{path}: not tomosynthesis: expected {TOMOSYNTHESIS.name}, found {found}",
                hint="take the tomosynthesis series of the study" if kind else DAMAGED,
            )
        missing = [name for name in (*_SIZE, *PLAIN) if ds.get(name) is None]
        if missing:
            raise DataError(f"{path}: the header lacks {', '.join(missing)}", hint=DAMAGED)
        _check_pixels(path, ds)
        n, rows, columns = (int(ds[name].value) for name in _SIZE)
        if min(n, rows, columns) < 1:
            raise DataError(f"{path}: {n} frames of {rows} x {columns} pixels", hint=DAMAGED)
        return Header(n, rows, columns, _window(path, ds))


def read_frames(
    path: Path, slices: Iterable[int] | None = None, header: Header | None = None
) -> Iterator[NDArray[np.uint16]]:
    """Decode the frames of a volume in order, or only those of ``slices``, each ``(rows, columns)`` of stored values.

    Only one decoded frame is held at a time, and frames that are not asked for are not decoded. BCS-DBT's JPEG 2000
    streams say 16 bits where the header says 10; the values are the same and nothing is rescaled. A ``header`` that was
    read before saves reading it again. Raises `DataError` for a file that is cut off, without pixels, with another
    number or size of frames than its header says, or that the codec refuses.
    """
    n, rows, columns, _ = header or read_header(path)
    wanted = range(n) if slices is None else list(slices)
    for z in wanted:
        if not 0 <= z < n:
            raise DataError(f"{path}: no slice {z}, the volume has {n}", hint="slices count from 0")
    frames = iter_pixels(path, indices=None if slices is None else wanted)
    for z in wanted:
        with _refused(f"{path}: frame {z + 1} of {n} cannot be decoded"):
            frame = next(frames, None)
        if frame is None:
            raise DataError(f"{path}: {z} frames, the header says {n}", hint=DAMAGED)
        yield _checked(path, frame, (rows, columns))
    with _refused(f"{path}: the end of the file cannot be decoded"):
        more = next(frames, None)
    if more is not None:
        raise DataError(f"{path}: more frames than the {n} that the header says", hint=DAMAGED)


def read_frame(path: Path, z: int) -> NDArray[np.uint16]:
    """Decode frame ``z`` (from 0) alone, ``(rows, columns)`` of stored values."""
    return next(read_frames(path, [z]))


def _checked(path: Path, frame: NDArray[np.generic], shape: tuple[int, int]) -> NDArray[np.uint16]:
    if frame.shape != shape:
        found, expected = (" x ".join(map(str, s)) for s in (frame.shape, shape))
        raise DataError(f"{path}: frames of {found}, the header says {expected}", hint=DAMAGED)
    return frame.astype(np.uint16, copy=False)


def _check_pixels(path: Path, ds: Dataset) -> None:
    wrong = [f"{name} {ds.get(name)}" for name, value in PLAIN.items() if ds.get(name) != value]
    for name, identity in _RESCALE.items():
        found = _functional(ds, "PixelValueTransformationSequence", name)
        if found is not None and float(found) != identity:
            wrong.append(f"{name} {found}")
    if wrong:
        expected = ", ".join(f"{name} {value}" for name, value in (PLAIN | _RESCALE).items())
        raise DataError(
            f"{path}: cannot read pixels with {', '.join(wrong)}; expected {expected}",
            hint="take the series as the archive has it; one that was converted cannot be read",
        )


def _window(path: Path, ds: Dataset) -> Window:
    center, width = (_functional(ds, _VOI, name) for name in _WINDOW)
    if center is None or width is None or not float(width) > 0:
        raise DataError(
            f"{path}: no usable window: expected center and width in the shared functional groups, "
            "at the top level or in the per-frame functional groups",
            hint=f"take the series as the archive has it; or {DAMAGED}",
        )
    return Window(float(center) - float(width) / 2, float(center) + float(width) / 2)


def _functional(ds: Dataset, sequence: str, name: str) -> Any:
    """A value from the shared functional groups, else the top level, else the first frame's functional groups."""
    shared, frame = ((ds.get(group) or [None])[0] for group in (_SHARED, _PER_FRAME))
    for place in (_first(shared, sequence), ds, _first(frame, sequence)):
        value = None if place is None else place.get(name)
        if value is not None:
            return value[0] if isinstance(value, pydicom.multival.MultiValue) else value
    return None


def _first(item: Dataset | None, sequence: str) -> Dataset | None:
    items = None if item is None else item.get(sequence)
    return cast("Dataset", items[0]) if items else None


@contextmanager
def _refused(what: str) -> Iterator[None]:
    """Turn whatever pydicom and the codecs raise on bad bytes into a `DataError`; keep their warnings in.

    Their errors are of a dozen types and may quote header values, so the text is kept out of the message; it is the
    cause of the `DataError`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DataError:
        raise
    except Exception as exc:
        raise DataError(what, hint=DAMAGED) from exc
