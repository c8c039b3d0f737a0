"""The header of a tomosynthesis DICOM file: the few fields that are needed, held against the file's length.

Nothing else of a header is read, kept or shown, and no message repeats its text.
"""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)

from dbtssl.data.records import Window
from dbtssl.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from pydicom.dataset import Dataset

TOMOSYNTHESIS = UID("1.2.840.10008.5.1.4.1.1.13.1.3")  # Breast Tomosynthesis Image Storage
PLAIN = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "PixelRepresentation": 0}
DAMAGED = "the file is incomplete or damaged: download it again"
CONVERTED = "take the series as the archive has it; one that was converted cannot be read"
MOST_PIXELS = 1 << 25  # in a slice; BCS-DBT has 4.9 million, the largest detectors 14
MOST_SLICES = 4096  # BCS-DBT has at most 125
JPEG_2000 = (JPEG2000Lossless, JPEG2000)
_UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
_SHADES = ("MONOCHROME1", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")

_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_VOI, _WINDOW = "FrameVOILUTSequence", ("WindowCenter", "WindowWidth")
_RESCALE = {"RescaleSlope": 1.0, "RescaleIntercept": 0.0}
_SIZE = ("NumberOfFrames", "Rows", "Columns")
_BITS = ("BitsAllocated", "BitsStored")
_FIELDS = ["SOPClassUID", *_SIZE, *PLAIN, *_BITS, *_WINDOW, *_RESCALE, _SHARED, _PER_FRAME]
_PIXEL_DATA = (0x7FE0, 0x0010)


class Pixels(NamedTuple):
    """Where the frames begin in the file, 0 for not known; ``dtype`` of uncompressed ones, None for JPEG 2000."""

    start: int = 0
    dtype: str | None = None


class Header(NamedTuple):
    """What of a header is used; ``window`` is in stored values, ``notes`` tell what is odd but does no harm."""

    n_slices: int
    rows: int
    columns: int
    window: Window
    bits: int = 16
    pixels: Pixels = Pixels()
    notes: tuple[str, ...] = ()


def read_header(path: Path) -> Header:
    """Read and check the header of a tomosynthesis volume.

    Raises `DataError` for a file that is missing, no DICOM, not tomosynthesis, cut off in its header, not plain
    grey (``PLAIN``, identity rescale), encoded otherwise than as JPEG 2000 or uncompressed, of sizes that the file
    cannot hold or nothing can have, or without a window.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file", hint="download the volume, or check the folder")
    with refused(f"{path}: the header cannot be read"), path.open("rb") as file:
        try:
            syntax = _syntax(path)
            ds = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_FIELDS)
        except InvalidDicomError as exc:
            raise DataError(f"{path}: not a DICOM file", hint=DAMAGED) from exc
        kind = ds.get("SOPClassUID")
        if kind != TOMOSYNTHESIS:
            raise DataError(
                f"{path}: not tomosynthesis: expected {TOMOSYNTHESIS.name}, found {_named(kind, 'SOP class')}",
                hint="take the tomosynthesis series of the study" if kind else DAMAGED,
            )
        missing = [name for name in (*_SIZE, *PLAIN, *_BITS) if ds.get(name) is None]
        if missing:
            raise DataError(f"{path}: the header lacks {', '.join(missing)}", hint=DAMAGED)
        _check_pixels(path, ds)
        n, rows, columns = (int(ds[name].value) for name in _SIZE)
        _check_size(path, n, rows, columns)
        allocated, bits = (int(ds[name].value) for name in _BITS)
        if allocated not in (8, 16) or not 1 <= bits <= allocated:
            raise DataError(
                f"{path}: {bits} bits stored in {allocated}; expected up to 16 in 16", hint=DAMAGED
            )
        return Header(
            n_slices=n,
            rows=rows,
            columns=columns,
            window=_window(path, ds),
            bits=bits,
            pixels=_pixels(path, file, syntax, n * rows * columns * allocated // 8, allocated),
            notes=_notes(ds, n),
        )


def _syntax(path: Path) -> UID:
    """The transfer syntax, looked at first: inflating a deflated file may take any amount of memory."""
    syntax = read_file_meta_info(path).get("TransferSyntaxUID")
    if syntax not in (*JPEG_2000, *_UNCOMPRESSED):
        raise DataError(
            f"{path}: cannot read {_named(syntax, 'transfer syntax')}; expected JPEG 2000 or uncompressed",
            hint=CONVERTED if syntax else DAMAGED,
        )
    return cast("UID", syntax)


def _pixels(path: Path, file: BinaryIO, syntax: UID, expected: int, allocated: int) -> Pixels:
    """Where the pixels begin; ``file`` stands at their element, where pydicom has stopped."""
    order: Literal["big", "little"] = "big" if syntax == ExplicitVRBigEndian else "little"
    head = file.read(8)
    tag = tuple(int.from_bytes(head[i : i + 2], order) for i in (0, 2))
    if tag != _PIXEL_DATA:
        raise DataError(f"{path}: no pixels", hint=DAMAGED)
    explicit = syntax != ImplicitVRLittleEndian
    length = int.from_bytes(file.read(4) if explicit else head[4:], order)
    start = file.tell()
    there = os.fstat(file.fileno()).st_size - start
    if syntax in JPEG_2000:
        return Pixels(start)
    if min(length, there) < expected:
        raise DataError(
            f"{path}: {min(length, there)} bytes of pixels, the header says {expected}",
            hint=DAMAGED,
        )
    return Pixels(start, f"{'>' if order == 'big' else '<'}u{allocated // 8}")


def _check_size(path: Path, n: int, rows: int, columns: int) -> None:
    if min(n, rows, columns) < 1:
        raise DataError(f"{path}: {n} frames of {rows} x {columns} pixels", hint=DAMAGED)
    if rows * columns > MOST_PIXELS or n > MOST_SLICES:
        raise DataError(
            f"{path}: {n} frames of {rows} x {columns} pixels; expected at most {MOST_SLICES} of {MOST_PIXELS} in all",
            hint=DAMAGED,
        )


def _check_pixels(path: Path, ds: Dataset) -> None:
    wrong = [
        f"{name} {_plain(ds.get(name))}" for name, value in PLAIN.items() if ds.get(name) != value
    ]
    for name, identity in _RESCALE.items():
        found = _functional(ds, "PixelValueTransformationSequence", name)
        if found is not None and float(found) != identity:
            wrong.append(f"{name} {float(found):g}")
    if wrong:
        expected = ", ".join(f"{name} {value}" for name, value in (PLAIN | _RESCALE).items())
        raise DataError(
            f"{path}: cannot read pixels with {', '.join(wrong)}; expected {expected}",
            hint=CONVERTED,
        )


def _plain(value: Any) -> str:
    """A header value that may be shown: a number or a defined term."""
    return str(value) if isinstance(value, int) or value in _SHADES else "of another kind"


def _named(uid: Any, what: str) -> str:
    """The registered name of a UID; any other text is not repeated."""
    if not uid:
        return f"no {what}"
    name = uid.name if isinstance(uid, UID) else ""
    return name if name and name != str(uid) else f"an unknown {what}"


def _notes(ds: Dataset, n: int) -> tuple[str, ...]:
    items = len(ds.get(_PER_FRAME) or ())
    if items in (0, n):
        return ()
    return (f"the per-frame sequence has {items} items, the volume {n} frames",)


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
def refused(what: str) -> Iterator[None]:
    """Turn whatever pydicom, the codecs and the disk raise into a `DataError`; keep their warnings in.

    Their errors are of a dozen types and may quote header values, so the text is kept out of the message; it is the
    cause of the `DataError`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DataError:
        raise
    except OSError as exc:
        if exc.errno is None:  # Pillow's way to say that a picture is damaged
            raise DataError(what, hint=DAMAGED) from exc
        raise DataError(f"{what}: {os.strerror(exc.errno)}", hint="check the disk") from exc
    except Exception as exc:
        raise DataError(what, hint=DAMAGED) from exc
