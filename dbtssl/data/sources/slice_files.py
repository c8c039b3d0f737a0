"""A volume whose slices are files: PNG, JPEG or TIFF images, or DICOM files of one frame each."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import generate_fragments, generate_frames
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dbtssl.data.dicom import presentation
from dbtssl.data.dicom.codestream import START
from dbtssl.data.dicom.dicom_files import ids_of
from dbtssl.data.dicom.frames import Header, decode_frame, within
from dbtssl.data.dicom.header import FRAMES, JPEG_2000, MOST_PIXELS, refuse_faults
from dbtssl.data.dicom.identity import check_identity
from dbtssl.data.dicom.presentation import Fault, blacken
from dbtssl.data.records import Window
from dbtssl.data.sources.image_files import check_image, grey
from dbtssl.errors import DataError, system_error
from dbtssl.interfaces import Expected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

FORMATS = (
    "PNG",
    "JPEG",
    "TIFF",
)  # of Pillow's decoders; no other is tried, whatever the file holds
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm")
REPAIR = "repair the file or write it again; it may be incomplete"
RANGE = "say which values are black and white, with the option window: window=[0, 1023]"

T = TypeVar("T")


class _Info(NamedTuple):
    """What a file says of its slice before it is decoded: its own window, and else the whole range, where it tells."""

    rows: int
    columns: int
    bits: int
    window: Window | None
    whole: Window | None
    series: str = ""  # Series Instance UID, which the slices of a volume share
    spacing: float = 0.0


@dataclass(frozen=True)
class SliceStack:
    """Reads a volume of one file a slice, ``files`` in order; a `FrameReader`.

    ``window`` is shown as black and white. Without it 8-bit images are shown whole, and DICOM files by their own window
    or else by Bits Stored. A DICOM file whose header contradicts ``expected`` is refused.
    """

    files: tuple[Path, ...]
    window: Window | None = None
    expected: Expected = Expected()

    def header(self) -> Header:
        """Size and window as the first file has them; nothing is decoded, and `frames` holds the others to it.

        Raises `DataError` for a file that cannot be read, and for 16-bit images without a ``window``.
        """
        info = _read(self.files[0], self._info)
        window = self.window or info.window or info.whole
        if window is None:
            raise DataError(f"{self.files[0]}: 16-bit values of unknown range", hint=RANGE)
        size = (len(self.files), info.rows, info.columns)
        return Header(*size, window, info.bits, spacing=info.spacing)

    def frames(self, slices: Iterable[int] | None = None) -> Iterator[NDArray[np.uint16]]:
        """Decode all slices in order, or those asked for, one at a time: stored values ``(rows, columns)``.

        Raises `DataError` for a file that cannot be decoded, colour, and slices that differ in size, depth, window or
        series.
        """
        first = _read(self.files[0], self._info)
        for z in range(len(self.files)) if slices is None else slices:
            info = _read(self.files[z], self._info)
            if info[:3] != first[:3]:
                found, expected = (
                    f"{i.rows} x {i.columns} pixels of {i.bits} bits" for i in (info, first)
                )
                raise DataError(
                    f"{self.files[z]}: {found}, the first slice of the volume has {expected}",
                    hint="the slices of a volume have one size and depth",
                )
            if info.series and first.series and info.series != first.series:
                raise DataError(
                    f"{self.files[z]}: its SeriesInstanceUID is not that of the first slice of the volume",
                    hint="a volume is one series: correct the rows of the table where slices were exchanged",
                )
            one, other = info.window, first.window
            if self.window is None and one and other and one != other:
                found, expected = (f"{w.low:g} to {w.high:g}" for w in (one, other))
                raise DataError(
                    f"{self.files[z]}: a window of {found}, the first slice of the volume has {expected}",
                    hint=f"a volume is shown through one window: {RANGE}",
                )
            yield _read(self.files[z], self._pixels)

    def _info(self, path: Path) -> _Info:
        if _is_dicom(path):
            return self._dicom_info(path, _dicom(path, stop_before_pixels=True))
        with Image.open(path, formats=FORMATS) as image:
            _check_size(path, image.height, image.width)
            bits = check_image(path, image)
            whole = None if bits > 8 else Window(0.0, 255.0)
            return _Info(image.height, image.width, bits, None, whole)

    def _pixels(self, path: Path) -> NDArray[np.uint16]:
        if not _is_dicom(path):
            with Image.open(path, formats=FORMATS) as image:
                return grey(path, image)
        ds = _dicom(path)
        info = self._dicom_info(path, ds)
        shown = self.window or info.window or info.whole or Window(0.0, 1.0)
        pad = presentation.padding(ds, shown, info.bits)
        if isinstance(pad, Fault):
            refuse_faults(path, [pad], values=False)
            pad = None
        _check_one_frame(path, ds)
        if ds.file_meta.TransferSyntaxUID not in JPEG_2000:
            return within(path, blacken(ds.pixel_array.astype(np.uint16), pad), info.bits)
        header = Header(1, info.rows, info.columns, shown, info.bits, padding=pad)
        return decode_frame(path, next(generate_frames(ds.PixelData, number_of_frames=1)), header)

    def _dicom_info(self, path: Path, ds: Dataset) -> _Info:
        ids = ids_of(ds)
        check_identity(path, self.expected, ids)
        n = int(ds.get("NumberOfFrames") or 1)
        if n != 1:
            raise DataError(
                f"{path}: cannot read pixels of another NumberOfFrames; expected NumberOfFrames 1",
                hint="a multi-frame volume is read by the source bcs-dbt",
            )
        found = presentation.faults(ds, n, windowed=self.window is not None)
        refuse_faults(
            path, found, values=False
        )  # named without their values, which may be any text
        _check_size(path, int(ds.Rows), int(ds.Columns))
        return _Info(
            rows=int(ds.Rows),
            columns=int(ds.Columns),
            bits=int(ds.BitsStored),
            window=presentation.window(ds, n),
            whole=Window(0.0, float(2 ** int(ds.BitsStored) - 1)),
            series=ids.series,
            spacing=presentation.spacing(ds),
        )


def _read(path: Path, how: Callable[[Path], T]) -> T:
    """Read one slice; whatever a decoder raises on bad bytes becomes a `DataError` without its text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return how(path)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", hint="check the table's column file") from None
    except Exception as exc:
        what = f"{path} cannot be read as a slice"
        raise system_error(exc, what) or DataError(what, hint=REPAIR) from exc


def _check_one_frame(path: Path, ds: Dataset) -> None:
    """Refuse pixels of more frames than the one that the header says."""
    data = ds.PixelData
    if ds.file_meta.TransferSyntaxUID.is_encapsulated:
        n = float(sum(part[:4] == START for part in generate_fragments(data)))
    else:
        frame = int(ds.Rows) * int(ds.Columns) * int(ds.BitsAllocated) // 8
        n = 1.0 if len(data) <= frame + frame % 2 else len(data) / frame
    if n > 1:
        raise DataError(f"{path}: pixels of {n:g} frames, the header says 1", hint=FRAMES)


def _is_dicom(path: Path) -> bool:
    return path.suffix.lower() == ".dcm"


def _dicom(path: Path, *, stop_before_pixels: bool = False) -> Dataset:
    """Read a DICOM file; a deflated one may grow to any size and is refused before it does."""
    if read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        raise DataError(f"{path}: a deflated file", hint="write it again, uncompressed")
    return pydicom.dcmread(path, stop_before_pixels=stop_before_pixels)


def _check_size(path: Path, rows: int, columns: int) -> None:
    if not 0 < rows * columns <= MOST_PIXELS:
        raise DataError(
            f"{path}: {rows} x {columns} pixels", hint=f"expected at most {MOST_PIXELS:,}"
        )
