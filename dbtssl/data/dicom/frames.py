"""Multi-frame tomosynthesis DICOM: its frames one at a time, in full or at half resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbtssl.data.dicom import codestream
from dbtssl.data.dicom import encapsulation as fragments
from dbtssl.data.dicom.header import (
    CONVERTED,
    DAMAGED,
    FRAMES,
    Header,
    Pixels,
    read_header,
    refused,
)
from dbtssl.data.dicom.presentation import blacken
from dbtssl.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray

__all__ = [
    "DAMAGED",
    "Header",
    "Pixels",
    "decode_frame",
    "read_frame",
    "read_frames",
    "read_header",
    "within",
]


def read_frames(
    path: Path,
    slices: Iterable[int] | None = None,
    header: Header | None = None,
    *,
    half: bool = False,
) -> Iterator[NDArray[np.uint16]]:
    """Decode the frames of a volume in order, or only those of ``slices``, each ``(rows, columns)`` of stored values.

    Only one decoded frame is held at a time, and frames that are not asked for are not decoded. BCS-DBT's JPEG 2000
    streams say 16 bits where the header says 10; the values are the same and nothing is rescaled. ``half`` decodes the
    half-resolution level of a JPEG 2000 frame, ``(ceil(rows / 2), ceil(columns / 2))``; a frame that has none comes in
    full. A ``header`` that was read before saves reading it again. Raises `DataError` for a file that is cut off,
    without pixels, with another number or size of frames or other values than its header says, or that the codec
    refuses.
    """
    known = header if header and header.pixels.start else read_header(path)
    n = known.n_slices
    wanted: Sequence[int] = range(n) if slices is None else list(slices)
    for z in wanted:
        if not 0 <= z < n:
            raise DataError(f"{path}: no slice {z}, the volume has {n}", hint="slices count from 0")
    with refused(f"{path}: the file cannot be opened"):
        file = path.open("rb")
    with file:
        if known.pixels.dtype is None:
            yield from _codestreams(path, file, known, wanted, half)
        else:
            yield from _plain(path, file, known, wanted)


def read_frame(path: Path, z: int, header: Header | None = None) -> NDArray[np.uint16]:
    """Decode frame ``z`` (from 0) alone, ``(rows, columns)`` of stored values."""
    return next(read_frames(path, [z], header))


def _codestreams(
    path: Path, file: BinaryIO, header: Header, wanted: Sequence[int], half: bool
) -> Iterator[NDArray[np.uint16]]:
    n = header.n_slices
    with refused(f"{path}: the frames cannot be found"):
        frames = fragments.locate(file, header.pixels.start, n)
    found = len(frames.places)
    if found > n:
        raise DataError(f"{path}: more frames than the {n} that the header says", hint=FRAMES)
    if found < n and frames.whole:
        raise DataError(f"{path}: {found} frames, the header says {n}", hint=FRAMES)
    for z in wanted:
        what = f"{path}: frame {z + 1} of {n} cannot be decoded"
        if z >= found:
            raise DataError(f"{what}: the file breaks off after {found}", hint=DAMAGED)
        with refused(what):
            frame = decode_frame(path, fragments.read(file, frames.places[z]), header, half=half)
        yield frame


def decode_frame(
    path: Path, data: bytes, header: Header, *, half: bool = False
) -> NDArray[np.uint16]:
    """Decode one JPEG 2000 frame of ``path``, at its half-resolution level if that is asked for and it has one.

    Raises `DataError` for one that is not as ``header`` says, before its decoder takes memory for it, and whatever the
    codec and `codestream.check` raise.
    """
    if data.startswith(codestream.JP2):
        raise DataError(
            f"{path}: a JP2 file, with boxes, as a frame; expected a bare codestream (DICOM PS3.5, A.4.4)",
            hint="the file is not damaged: write its frames again without the boxes, or uncompressed",
        )
    image = codestream.parse(data)
    _check(path, image, header)
    codestream.check(data, image)
    if half and image.levels:
        if header.padding:
            low, high, _ = header.padding
            raise DataError(
                f"{path}: padding of {low} to {high}, in the window; it has no border at half resolution",
                hint="decode at full resolution: --resolution native",
            )
        return codestream.decode_half(data, image, header.bits)
    return within(path, blacken(codestream.decode(data, image), header.padding), header.bits)


def _plain(
    path: Path, file: BinaryIO, header: Header, wanted: Sequence[int]
) -> Iterator[NDArray[np.uint16]]:
    dtype = np.dtype(header.pixels.dtype)
    count = header.rows * header.columns
    if header.pixels.over:
        said = header.n_slices * count * dtype.itemsize
        found = (said + header.pixels.over) / (count * dtype.itemsize)
        raise DataError(
            f"{path}: pixels of {found:g} frames, the header says {header.n_slices}", hint=FRAMES
        )
    for z in wanted:
        with refused(f"{path}: frame {z + 1} of {header.n_slices} cannot be read"):
            file.seek(header.pixels.start + z * count * dtype.itemsize)
            data = file.read(count * dtype.itemsize)
            frame = np.frombuffer(data, dtype).reshape(header.rows, header.columns)
        frame = blacken(frame.astype(np.uint16, copy=False), header.padding)
        yield within(path, frame, header.bits)


def _check(path: Path, image: codestream.Codestream, header: Header) -> None:
    """Refuse a codestream of another size or kind than the header says."""
    if (image.rows, image.columns) != (header.rows, header.columns):
        raise DataError(
            f"{path}: frames of {image.rows} x {image.columns}, "
            f"the header says {header.rows} x {header.columns}",
            hint=DAMAGED,
        )
    if image.components != 1 or image.signed or image.precision > 16:
        kind = "signed" if image.signed else "unsigned"
        raise DataError(
            f"{path}: {image.components} components of {image.precision} bits, {kind}; "
            "expected one of at most 16, unsigned",
            hint=f"the file is not damaged, its pixels are of another kind than its header says: {CONVERTED}",
        )


def within(path: Path, frame: NDArray[np.uint16], bits: int) -> NDArray[np.uint16]:
    """``frame``; refused where a value has more than ``bits`` bits."""
    largest = int(frame.max())
    if largest >> bits:
        raise DataError(
            f"{path}: a value of {largest}, the header says {bits} bits",
            hint="bits above Bits Stored may be overlays: write the series without overlays in the pixel data; where "
            "it has none, the file may be damaged: compare its size or checksum with the archive's",
        )
    return frame
