"""A volume whose slices are files: PNG, JPEG or TIFF images, or DICOM files of one frame each."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import generate_frames
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dbtssl.data.dicom import Header, decode_frame
from dbtssl.data.dicom_header import JPEG_2000, MOST_PIXELS, PLAIN
from dbtssl.data.records import Window
from dbtssl.errors import DataError

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
IDENTITY = {"RescaleSlope": 1, "RescaleIntercept": 0, "NumberOfFrames": 1}
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm")
MEND = "mend the file, or write it anew"
GREY = "expected grey, of 8 or 16 bits, without alpha"
RANGE = "say which values are black and white, with the option window: window=[0, 1023]"

T = TypeVar("T")


class _Info(NamedTuple):
    """What a file says of its slice before it is decoded; no window where it does not tell one."""

    rows: int
    columns: int
    bits: int
    window: Window | None


@dataclass(frozen=True)
class SliceStack:
    """Reads a volume of one file a slice, ``files`` in order; a `FrameReader`.

    ``window`` is shown as black and white. Without it 8-bit images are shown whole, and DICOM files by their own window
    or else by Bits Stored.
    """

    files: tuple[Path, ...]
    window: Window | None = None

    def header(self) -> Header:
        """Size and window as the first file has them; nothing is decoded, and `frames` holds the others to it.

        Raises `DataError` for a file that cannot be read, and for 16-bit images without a ``window``.
        """
        rows, columns, bits, window = _read(self.files[0], _info)
        window = self.window or window
        if window is None:
            raise DataError(f"{self.files[0]}: 16-bit values of unknown range", hint=RANGE)
        return Header(len(self.files), rows, columns, window, bits)

    def frames(self, slices: Iterable[int] | None = None) -> Iterator[NDArray[np.uint16]]:
        """Decode all slices in order, or those asked for, one at a time: stored values ``(rows, columns)``.

        Raises `DataError` for a file that cannot be decoded, colour, and slices that differ in size or depth.
        """
        first = _read(self.files[0], _info)
        for z in range(len(self.files)) if slices is None else slices:
            info = _read(self.files[z], _info)
            if info[:3] != first[:3]:
                found, expected = (
                    f"{i.rows} x {i.columns} pixels of {i.bits} bits" for i in (info, first)
                )
                raise DataError(
                    f"{self.files[z]}: {found}, the first slice of the volume has {expected}",
                    hint="the slices of a volume have one size and depth",
                )
            yield _read(self.files[z], _pixels)


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
        raise DataError(f"{path} cannot be read as a slice", hint=MEND) from exc


def _info(path: Path) -> _Info:
    if _is_dicom(path):
        return _dicom_info(path, _dicom(path, stop_before_pixels=True))
    with Image.open(path, formats=FORMATS) as image:
        pages = getattr(image, "n_frames", 1)
        if pages > 1:
            raise DataError(f"{path}: {pages} pages", hint="write one slice a file")
        deep = image.mode == "I" or image.mode.startswith("I;16")
        if not deep and image.mode not in ("L", "RGB"):
            raise DataError(f"{path}: pixels of mode {image.mode}", hint=GREY)
        _check_size(path, image.height, image.width)
        whole = None if deep else Window(0.0, 255.0)
        return _Info(image.height, image.width, 16 if deep else 8, whole)


def _pixels(path: Path) -> NDArray[np.uint16]:
    if _is_dicom(path):
        ds = _dicom(path)
        rows, columns, bits, window = _dicom_info(path, ds)
        if ds.file_meta.TransferSyntaxUID not in JPEG_2000:
            return ds.pixel_array.astype(np.uint16)
        header = Header(1, rows, columns, window or Window(0.0, 1.0), bits)
        return decode_frame(path, next(generate_frames(ds.PixelData, number_of_frames=1)), header)
    with Image.open(path, formats=FORMATS) as image:
        pixels = np.asarray(image)
    if pixels.ndim == 3:
        if (pixels != pixels[..., :1]).any():
            raise DataError(f"{path}: colour", hint=GREY)
        pixels = pixels[..., 0]  # grey, saved as colour
    if pixels.min() < 0 or pixels.max() > np.iinfo(np.uint16).max:
        raise DataError(f"{path}: values outside 0 to 65535", hint=GREY)
    return pixels.astype(np.uint16)


def _is_dicom(path: Path) -> bool:
    return path.suffix.lower() == ".dcm"


def _dicom(path: Path, *, stop_before_pixels: bool = False) -> Dataset:
    """Read a DICOM file; a deflated one may grow to any size and is refused before it does."""
    if read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        raise DataError(f"{path}: a deflated file", hint="write it anew, uncompressed")
    return pydicom.dcmread(path, stop_before_pixels=stop_before_pixels)


def _dicom_info(path: Path, ds: Dataset) -> _Info:
    wrong = [name for name, value in PLAIN.items() if ds.get(name) != value]
    wrong += [name for name, value in IDENTITY.items() if float(_first(ds, name, value)) != value]
    if wrong:  # named without their values, which may be any text
        expected = ", ".join(f"{name} {value}" for name, value in (PLAIN | IDENTITY).items())
        raise DataError(
            f"{path}: cannot read pixels of another {', '.join(wrong)}; expected {expected}",
            hint="a multi-frame volume is read by the source bcs-dbt",
        )
    _check_size(path, int(ds.Rows), int(ds.Columns))
    return _Info(int(ds.Rows), int(ds.Columns), int(ds.BitsStored), _dicom_window(ds))


def _dicom_window(ds: Dataset) -> Window:
    center, width = (float(_first(ds, name, 0)) for name in ("WindowCenter", "WindowWidth"))
    if not width > 0:
        return Window(0.0, float(2 ** int(ds.BitsStored) - 1))
    return Window(center - width / 2, center + width / 2)


def _first(ds: Dataset, name: str, default: Any) -> Any:
    """A value of the header, the first where it has several."""
    value = ds.get(name)
    if isinstance(value, pydicom.multival.MultiValue):
        value = value[0] if value else None
    return default if value is None else value


def _check_size(path: Path, rows: int, columns: int) -> None:
    if not 0 < rows * columns <= MOST_PIXELS:
        raise DataError(
            f"{path}: {rows} x {columns} pixels", hint=f"expected at most {MOST_PIXELS:,}"
        )
