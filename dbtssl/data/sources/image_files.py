"""Slices as PNG, JPEG or TIFF: what of such a file changes its pixels is applied, or refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbtssl.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL.Image import Image

GREY = "expected grey, of 8 or 16 bits, without alpha: convert the image, so that its values are those to be shown"
UPRIGHT = "write the image as it is to be shown, without an orientation; boxes are in pixels of the file as it lies"

_KINDS = {
    "1": "1 bit",
    "P": "a palette",
    "PA": "a palette",
    "F": "floating-point values",
    "LA": "alpha",
    "La": "alpha",
    "RGBA": "alpha",
    "RGBa": "alpha",
    "CMYK": "CMYK colour",
}
_BITS, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274  # tags of TIFF
_WHITE_IS_ZERO = 0
_DEEP_COLOUR = 16  # bits a channel in the header of a PNG


def check_image(path: Path, image: Image) -> int:
    """Refuse what cannot be read as grey values; return the bits of a value, 8 or 16. Nothing is decoded."""
    pages = getattr(image, "n_frames", 1)
    if pages > 1:
        raise DataError(f"{path}: {pages} pages", hint="write one slice a file")
    deep = image.mode == "I" or image.mode.startswith("I;16")
    if not deep and image.mode not in ("L", "RGB"):
        kind = _KINDS.get(image.mode, "another kind")
        raise DataError(f"{path}: pixels of mode {image.mode}, {kind}", hint=GREY)
    if "transparency" in image.info:
        raise DataError(f"{path}: a transparent value, which is alpha", hint=GREY)
    if image.mode == "RGB" and _bits(path, image) > 8:
        raise DataError(f"{path}: colour of 16 bits, of which only 8 would be read", hint=GREY)
    turned = _orientation(image)
    if turned not in (None, 0, 1):
        raise DataError(f"{path}: an orientation of {turned}, expected 1", hint=UPRIGHT)
    return 16 if deep else 8


def grey(path: Path, image: Image) -> NDArray[np.uint16]:
    """The grey values of an open image, 0 being black; colour is taken only where it is grey."""
    pixels = np.asarray(image)
    if pixels.ndim == 3:
        if (pixels != pixels[..., :1]).any():
            raise DataError(f"{path}: colour", hint=GREY)
        pixels = pixels[..., 0]  # grey, saved as colour
    if pixels.min() < 0 or pixels.max() > np.iinfo(np.uint16).max:
        raise DataError(f"{path}: values outside 0 to 65535", hint=GREY)
    out = pixels.astype(np.uint16)
    if (
        _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO and image.mode != "L"
    ):  # Pillow turns 8 bits itself
        bits = _bits(path, image)
        if bits > 16:
            raise DataError(f"{path}: white is 0, in {bits} bits", hint=GREY)
        return np.uint16((1 << bits) - 1) - out
    return out


def _tag(image: Image, tag: int) -> object:
    """A tag of a TIFF file; None for other files."""
    tags = getattr(image, "tag_v2", None)
    return None if tags is None else tags.get(tag)


def _bits(path: Path, image: Image) -> int:
    """Bits of a value as the file has it, which Pillow may have reduced to 8."""
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24]  # IHDR, the first chunk: width, height, depth
    bits = _tag(image, _BITS)
    return max(map(int, bits)) if isinstance(bits, tuple) else int(str(bits or 8))


def _orientation(image: Image) -> object:
    if image.format == "PNG" and "exif" not in image.info:
        return None  # looking further would decode it
    return _tag(image, _ORIENTATION) or image.getexif().get(_ORIENTATION)
