"""JPEG 2000 codestreams (ISO/IEC 15444-1): what their header says, and decoding them in full or at half resolution.

The header is read before anything is decoded, so that a damaged one makes no codec reserve memory for an image that
is not there.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from openjpeg import decode_pixel_data
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

START = b"\xff\x4f\xff\x51"  # SOC, then SIZ: every codestream begins so
_SIZ = struct.Struct(">2xHH8IH3B")  # without its marker; A.5.1
_COD, _SOT, _SOD = 0xFF52, 0xFF90, 0xFF93
# The low-pass filter of the reversible transform is (-1, 2, 6, 2, -1) / 8: along one axis it gives at most 10/8 and at
# least -2/8 of the largest value, along two at most 10/8 * 10/8 + 2/8 * 2/8 of it.
OVERSHOOT = 1.625


class Codestream(NamedTuple):
    """The main header of one image: size in pixels, bits a value, and how often it can be halved."""

    rows: int
    columns: int
    components: int
    precision: int
    signed: bool
    levels: int


def parse(data: bytes) -> Codestream:
    """Read the main header of the codestream ``data``; ValueError for what is none."""
    if not data.startswith(START):
        raise ValueError("no JPEG 2000 codestream")
    try:
        _, _, *siz = _SIZ.unpack_from(data, 2)
        length = struct.unpack_from(">H", data, 4)[0]
        levels = _levels(data, 4 + length)
    except struct.error:
        raise ValueError("the codestream ends in its header") from None
    x1, y1, x0, y0, *tiles, components, depth, dx, dy = siz
    if x1 <= x0 or y1 <= y0 or (dx, dy) != (1, 1) or not all(tiles[:2]):
        raise ValueError("the codestream's header contradicts itself")
    return Codestream(
        rows=y1 - y0,
        columns=x1 - x0,
        components=components,
        precision=(depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        levels=levels,
    )


def decode(data: bytes, image: Codestream) -> NDArray[np.uint16]:
    """Decode in full: ``(rows, columns)`` of the values as they were encoded, unsigned and one component.

    Raises whatever the codec does on damaged data.
    """
    kind = "<u2" if image.precision > 8 else "u1"
    pixels = np.frombuffer(decode_pixel_data(data, version=2), dtype=kind)
    return pixels.reshape(image.rows, image.columns).astype(np.uint16, copy=False)


def decode_half(data: bytes, image: Codestream, bits: int) -> NDArray[np.uint16]:
    """Decode at the half-resolution level: ``(ceil(rows / 2), ceil(columns / 2))``, clipped to ``bits`` bits.

    The transform's low-pass band has its samples on every other pixel, so the picture lies up to a quarter of its own
    pixel beside the mean of 2 x 2. Pillow stretches what has fewer than 16 bits to 16 (and fewer than 8 to 8) and
    leaves 16 alone; BCS-DBT's streams say 16 where the header says 10. Raises whatever the codec does on damaged data,
    and ValueError for values that no image of ``bits`` bits can give.
    """
    picture = Jpeg2KImageFile(BytesIO(data))
    picture.reduce = 1
    picture.load()
    container = 16 if image.precision > 8 else 8
    out: NDArray[np.uint16] = np.asarray(picture).astype(np.uint16)
    out >>= container - image.precision
    if out.shape != half_shape(image.rows, image.columns):
        raise ValueError("the half-resolution level has another size")
    largest = (1 << bits) - 1
    if out.max() > OVERSHOOT * largest + 1:
        raise ValueError(f"values of more than {bits} bits")
    np.minimum(out, largest, out=out)
    return out


def half_shape(rows: int, columns: int) -> tuple[int, int]:
    """Rows and columns of the half-resolution level."""
    return -(-rows // 2), -(-columns // 2)


def _levels(data: bytes, at: int) -> int:
    """Decomposition levels, from the COD segment (A.6.1) among the marker segments from ``at`` on."""
    while True:
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == _COD:
            return int(data[at + 9]) if len(data) > at + 9 else 0
        if marker in (_SOT, _SOD) or marker < 0xFF00 or length < 2:
            raise ValueError("the codestream's header lacks the coding style")
        at += 2 + length
