from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import pytest
from openjpeg.utils import encode_array
from PIL import Image

from dbtssl.data.codestream import OVERSHOOT, decode, decode_half, half_shape, parse


@pytest.fixture(scope="module")
def smooth():
    y, x = np.mgrid[:75, :64]
    return np.rint(500 + 400 * np.sin(y / 13) * np.cos(x / 9)).astype(np.uint16)


def encoded(image, bits):
    return bytes(encode_array(image, bits_stored=bits))


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_the_header_and_the_values(smooth, bits):
    data = encoded(smooth, bits)
    image = parse(data)
    assert image == (75, 64, 1, bits, False, 5)
    np.testing.assert_array_equal(decode(data, image), smooth)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_half_resolution_has_the_values_of_the_full_one(smooth, bits):
    """Whatever the precision of the codestream: Pillow stretches 10 and 12 bits to 16."""
    data = encoded(smooth, bits)
    half = decode_half(data, parse(data), 10)
    assert half.shape == half_shape(75, 64) == (38, 32)
    assert half.dtype == np.uint16
    np.testing.assert_allclose(half[1:-1, 1:-1], smooth[2:-2:2, 2:-2:2], atol=12)


def test_eight_bits(smooth):
    small = (smooth // 4).astype(np.uint8)
    data = encoded(small, 8)
    np.testing.assert_array_equal(decode(data, parse(data)), small)
    np.testing.assert_allclose(
        decode_half(data, parse(data), 8)[1:-1, 1:-1], small[2:-2:2, 2:-2:2], atol=4
    )


def test_overshoot_is_clipped_and_bounded():
    """White where the low-pass filter is positive and black where it is negative is the worst that it can meet."""
    low_pass = np.array([-1, 2, 6, 2, -1]) / 8
    image = np.zeros((64, 64), np.uint16)
    image[30:35, 30:35] = 1023 * (np.outer(low_pass, low_pass) > 0)
    data = encoded(image, 16)
    picture = Image.open(BytesIO(data), formats=["JPEG2000"])
    picture.reduce = 1
    raw = np.asarray(picture)
    assert raw.max() == pytest.approx(OVERSHOOT * 1023, abs=2)
    half = decode_half(data, parse(data), 10)
    np.testing.assert_array_equal(half, np.minimum(raw, 1023))


def test_values_that_no_image_of_ten_bits_can_give_are_refused():
    data = encoded(np.full((64, 64), 5000, np.uint16), 16)
    with pytest.raises(ValueError, match="values of more than 10 bits"):
        decode_half(data, parse(data), 10)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda d: d[2:], "no JPEG 2000 codestream"),
        (lambda d: b"", "no JPEG 2000 codestream"),
        (lambda d: d[:30], "ends in its header"),
        (lambda d: d[:45], "ends in its header"),
        (lambda d: d[:8] + struct.pack(">II", 0, 75) + d[16:], "contradicts itself"),
        (lambda d: d[:24] + struct.pack(">II", 0, 0) + d[32:], "contradicts itself"),
        (lambda d: d.replace(b"\xff\x52", b"\xff\x90", 1), "lacks the coding style"),
    ],
)
def test_a_damaged_header_is_refused(smooth, change, match):
    with pytest.raises(ValueError, match=match):
        parse(change(encoded(smooth, 10)))
