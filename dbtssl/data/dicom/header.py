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
from pydicom.tag import Tag
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)

from dbtssl.data.dicom import presentation
from dbtssl.data.dicom.presentation import APPLY, PLAIN, Fault
from dbtssl.errors import DataError, system_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from dbtssl.data.records import Window

TOMOSYNTHESIS = UID("1.2.840.10008.5.1.4.1.1.13.1.3")  # Breast Tomosynthesis Image Storage
DAMAGED = "the file is incomplete or damaged: download it again"
CONVERTED = "take the series as the archive has it; one that was converted cannot be read"
MOST_PIXELS = 1 << 25  # in a slice; BCS-DBT has 4.9 million, the largest detectors 14
MOST_SLICES = 4096  # BCS-DBT has at most 125
JPEG_2000 = (JPEG2000Lossless, JPEG2000)
_UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
FRAMES = "NumberOfFrames and the data do not belong together: take the series as the archive has it"

_SIZE = ("NumberOfFrames", "Rows", "Columns")
_BITS = ("BitsAllocated", "BitsStored")
_FIELDS = [Tag(name) for name in ("SOPClassUID", *_SIZE, *presentation.FIELDS)]
_PIXEL_DATA = (0x7FE0, 0x0010)
_UNDEFINED = 0xFFFFFFFF  # the length of encapsulated pixels


class Pixels(NamedTuple):
    """Where the frames begin in the file, 0 for not known; ``dtype`` of uncompressed ones, None for JPEG 2000.

    ``over`` is how many bytes there are beyond the frames that the header says.
    """

    start: int = 0
    dtype: str | None = None
    over: int = 0


class Header(NamedTuple):
    """What of a header is used; ``window`` is in stored values, ``notes`` tell what is odd but does no harm.

    ``padding`` are stored values that are no image, where the window does not make them black. ``spacing`` is that of
    columns in mm, 0 where the header has none.
    """

    n_slices: int
    rows: int
    columns: int
    window: Window
    bits: int = 16
    pixels: Pixels = Pixels()
    notes: tuple[str, ...] = ()
    padding: presentation.Padding | None = None
    spacing: float = 0.0


def read_header(path: Path) -> Header:
    """Read and check the header of a tomosynthesis volume.

    Raises `DataError` for a file that is missing, no DICOM, not tomosynthesis, cut off in its header, whose pixels are
    not plain grey or are to be shown otherwise than through one window (`presentation.faults`), encoded otherwise than
    as JPEG 2000 or uncompressed, of sizes that the file cannot hold or nothing can have, or without a window.
    """
    with refused(f"{path}: the file cannot be read"):
        if not path.is_file():
            hint = "download the volume, or check the folder"
            raise DataError(f"{path}: no such file", hint=hint)
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
        n, rows, columns = (int(ds[name].value) for name in _SIZE)
        refuse_faults(path, presentation.faults(ds, n))
        _check_size(path, n, rows, columns)
        allocated, bits = (int(ds[name].value) for name in _BITS)
        if allocated not in (8, 16) or not 1 <= bits <= allocated:
            raise DataError(
                f"{path}: {bits} bits stored in {allocated}; expected up to 16 in 16", hint=DAMAGED
            )
        window = presentation.window(ds, n)
        if window is None:
            raise DataError(
                f"{path}: no usable window: expected center and width in the shared functional groups, "
                "at the top level or in the per-frame functional groups",
                hint=f"take the series as the archive has it; or {DAMAGED}",
            )
        padding = presentation.padding(ds, window, bits)
        if isinstance(padding, Fault):
            refuse_faults(path, [padding])
            padding = None
        return Header(
            n_slices=n,
            rows=rows,
            columns=columns,
            window=window,
            bits=bits,
            pixels=_pixels(path, file, syntax, n, rows * columns * allocated // 8, allocated),
            notes=presentation.notes(ds, n),
            padding=padding,
            spacing=presentation.spacing(ds),
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


def _pixels(path: Path, file: BinaryIO, syntax: UID, n: int, frame: int, allocated: int) -> Pixels:
    """Where the pixels begin; ``file`` stands at their element, where pydicom has stopped."""
    order: Literal["big", "little"] = "big" if syntax == ExplicitVRBigEndian else "little"
    head = file.read(8)
    tag = tuple(int.from_bytes(head[i : i + 2], order) for i in (0, 2))
    if tag != _PIXEL_DATA:
        raise DataError(f"{path}: no pixels", hint=DAMAGED)
    explicit = syntax != ImplicitVRLittleEndian
    length = int.from_bytes(file.read(4) if explicit else head[4:], order)
    start = file.tell()
    there, expected = os.fstat(file.fileno()).st_size - start, n * frame
    if syntax in JPEG_2000:
        return Pixels(start)
    if length == _UNDEFINED:
        raise DataError(
            f"{path}: pixels in encapsulated frames, the transfer syntax is {syntax.name}",
            hint="the encoding is named wrongly: take the series as the archive has it, or write it again uncompressed",
        )
    if min(length, there) < expected:
        raise DataError(
            f"{path}: {min(length, there)} bytes of pixels, the header says {expected}",
            hint=DAMAGED,
        )
    over = length - expected - expected % 2
    return Pixels(start, f"{'>' if order == 'big' else '<'}u{allocated // 8}", max(0, over))


def _check_size(path: Path, n: int, rows: int, columns: int) -> None:
    if min(n, rows, columns) < 1:
        raise DataError(f"{path}: {n} frames of {rows} x {columns} pixels", hint=DAMAGED)
    if rows * columns > MOST_PIXELS or n > MOST_SLICES:
        raise DataError(
            f"{path}: {n} frames of {rows} x {columns} pixels; expected at most {MOST_SLICES} of {MOST_PIXELS} in all",
            hint=DAMAGED,
        )


def refuse_faults(path: Path, found: list[Fault], *, values: bool = True) -> None:
    """Refuse a file for what its header does to pixels, by name, and with ``values`` also by what it says."""
    if found:
        names = ", ".join(fault.name for fault in found)
        what = f"with {', '.join(map(str, found))}" if values else f"of another {names}"
        expected = ", ".join(f"{fault.name} {fault.expected}" for fault in found)
        raise DataError(
            f"{path}: cannot read pixels {what}; expected {expected}",
            hint=APPLY.format(names=names),
        )


def _named(uid: Any, what: str) -> str:
    """The registered name of a UID; any other text is not repeated."""
    if not uid:
        return f"no {what}"
    name = uid.name if isinstance(uid, UID) else ""
    return name if name and name != str(uid) else f"an unknown {what}"


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
    except Exception as exc:  # Pillow says that a picture is damaged by an OSError without a number
        raise system_error(exc, what) or DataError(what, hint=DAMAGED) from exc
