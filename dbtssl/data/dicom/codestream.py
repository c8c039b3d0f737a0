"""JPEG 2000 codestreams (ISO/IEC 15444-1): what their header says, and decoding them in full or at half resolution.

The header is read before anything is decoded, so that a damaged one makes no codec reserve memory for an image that
is not there. Entropy-coded bytes carry no checksum, and the codec decodes many damaged ones without a word: `check`
finds what contradicts the standard.
"""

from __future__ import annotations

import re
import struct
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from openjpeg import decode_pixel_data
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

START = b"\xff\x4f\xff\x51"  # SOC, then SIZ: every codestream begins so
JP2 = b"\x00\x00\x00\x0cjP  \r\n\x87\n"  # the signature box of a JP2 file (annex I)
_SIZ = struct.Struct(">2xHH8IH3B")  # without its marker; A.5.1
_COD, _SOT, _SOD, _EOC = 0xFF52, 0xFF90, 0xFF93, 0xFFD9
_TILE_PART = struct.Struct(">2xHHI")  # SOT without its marker and what follows Psot; A.4.2
_MOST_TILES = 4096  # a tile costs the codec 10 kB; images of one detector come in a single one
# Stuffed bits keep coded bytes free of 0xFF90 and above (B.10.1, C.2.1), but for SOP and EPH, 0xFF91 and 0xFF92
_NO_DATA = re.compile(rb"\xff[\x90\x93-\xff]")
_HOLE = bytes(4096)  # a page or block of a disk that was never written
# The low-pass filter of the reversible transform is (-1, 2, 6, 2, -1) / 8: along one axis it gives at most 10/8 and at
# least -2/8 of the largest value, along two at most 10/8 * 10/8 + 2/8 * 2/8 of it.
OVERSHOOT = 1.625


class Codestream(NamedTuple):
    """The main header of one image: size in pixels, bits a value, and how often it can be halved.

    ``packets`` is the number of packets of a tile, 0 where precincts divide them further; ``length`` that of the main
    header in bytes.
    """

    rows: int
    columns: int
    components: int
    precision: int
    signed: bool
    levels: int
    packets: int
    length: int


def parse(data: bytes) -> Codestream:
    """Read the main header of the codestream ``data``; ValueError for what is none."""
    if not data.startswith(START):
        raise ValueError("no JPEG 2000 codestream")
    try:
        _, _, *siz = _SIZ.unpack_from(data, 2)
        segments = dict(_segments(data, 2, _SOT))
        layers, levels = struct.unpack_from(">HxB", data, segments[_COD] + 6)
    except struct.error:
        raise ValueError("the codestream ends in its header") from None
    except KeyError:
        raise ValueError("the codestream's header lacks the coding style") from None
    x1, y1, x0, y0, width, height, tile_x, tile_y, components, depth, dx, dy = siz
    if x1 <= x0 or y1 <= y0 or (dx, dy) != (1, 1) or not (width and height):
        raise ValueError("the codestream's header contradicts itself")
    if -(-(x1 - tile_x) // width) * -(-(y1 - tile_y) // height) > _MOST_TILES:
        raise ValueError("the codestream's header divides the image into countless tiles")
    precincts = data[segments[_COD] + 4] & 1
    return Codestream(
        rows=y1 - y0,
        columns=x1 - x0,
        components=components,
        precision=(depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        levels=levels,
        packets=0 if precincts else layers * (levels + 1) * components,
        length=segments[_SOT],
    )


def check(data: bytes, image: Codestream) -> None:
    """Refuse a codestream whose data cannot have been written so, which decoders need not notice; ValueError.

    Every tile-part must end where it says, with another or the end of the codestream behind it, and its data may hold
    neither what bit stuffing keeps out of it nor a hole of 4096 bytes of 0. That finds data that breaks off, holes,
    and most blocks of foreign data; it does not find a single flipped bit.
    """
    try:
        at = image.length
        while struct.unpack_from(">H", data, at)[0] != _EOC:
            at = _check_tile_part(data, at, image)
    except struct.error:
        raise ValueError("the codestream breaks off") from None


def _check_tile_part(data: bytes, at: int, image: Codestream) -> int:
    """Check the tile-part that begins at ``at``; return where it ends."""
    if struct.unpack_from(">H", data, at)[0] != _SOT:
        raise ValueError("the data do not end where they should")
    length: int = _TILE_PART.unpack_from(data, at)[2]
    end = at + length if length else data.rfind(b"\xff\xd9")  # 0: as far as the codestream
    begin = dict(_segments(data, at, _SOD))[_SOD] + 2
    if not begin <= end <= len(data):
        raise ValueError("the data do not end where they should")
    if _NO_DATA.search(data, begin, end):
        raise ValueError("a marker among the coded data")
    # a packet without data is a byte of 0; where there may be thousands, holes cannot be told from them
    if 0 < image.packets < len(_HOLE) // 2 and data.find(_HOLE, begin, end) >= 0:
        raise ValueError("a hole in the coded data")
    return end


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


def _segments(data: bytes, at: int, last: int) -> Iterator[tuple[int, int]]:
    """Markers from ``at`` on and their places, up to the marker ``last``; each but that has a length (A.1)."""
    while True:
        marker, length = struct.unpack_from(">HH", data, at)
        yield marker, at
        if marker == last:
            return
        if marker in (_SOD, _EOC) or marker < 0xFF00 or length < 2:
            raise ValueError("the codestream's header contradicts itself")
        at += 2 + length
