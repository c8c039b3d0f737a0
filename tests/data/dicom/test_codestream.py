from __future__ import annotations

import random
import struct
from io import BytesIO

import numpy as np
import pytest
from openjpeg.utils import encode_array
from PIL import Image

from dbtssl.data.dicom.codestream import OVERSHOOT, check, decode, decode_half, half_shape, parse


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
    assert image[:6] == (75, 64, 1, bits, False, 5)
    assert image.packets == 6  # a packet for each resolution
    assert data[image.length : image.length + 2] == b"\xff\x90"
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
        (lambda d: d[:24] + struct.pack(">II", 1, 1) + d[32:], "countless tiles"),
        (lambda d: d.replace(b"\xff\x5c", b"\x00\x5c", 1), "contradicts itself"),
    ],
)
def test_a_damaged_header_is_refused(smooth, change, match):
    with pytest.raises(ValueError, match=match):
        parse(change(encoded(smooth, 10)))


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).integers(0, 1024, (300, 256), dtype=np.uint16)


def test_whole_codestreams_are_sound(smooth, noise):
    black = np.zeros((300, 256), np.uint16)
    for image in (smooth, noise, black):
        for bits in (10, 16):
            data = encoded(image, bits)
            for padded in (data, data + b"\0"):  # DICOM makes lengths even
                check(padded, parse(padded))


def by_pillow(image, **how):
    file = BytesIO()
    Image.fromarray(image).save(file, format="JPEG2000", no_jp2=True, irreversible=False, **how)
    return file.getvalue()


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"tile_size": (64, 64)},
        {"precinct_size": (64, 64), "codeblock_size": (32, 32)},
        {"quality_mode": "rates", "quality_layers": [40, 10, 1]},
        {"num_resolutions": 1},
        {"plt": True},
        {"progression": "CPRL"},
    ],
)
def test_codestreams_of_other_encoders_are_sound(noise, how):
    image = np.where(np.indices(noise.shape)[1] < 40, noise, 0).astype(np.uint16)
    data = by_pillow(image, **how)
    check(data, parse(data))
    assert decode(data, parse(data)).max() == image.max()


def test_thousands_of_empty_packets_are_no_hole():
    grey = np.full((2048, 2048), 1 << 15, np.uint16)  # 0 after the level shift
    data = by_pillow(grey, precinct_size=(32, 32), codeblock_size=(16, 16))
    data = data.replace(b"\x80", b"\0")  # the two ways to say that a packet holds nothing; B.10.3
    assert bytes(4096) in data
    check(data, parse(data))
    np.testing.assert_array_equal(decode(data, parse(data)), grey)


def test_a_last_tile_part_may_leave_its_length_open(noise):
    data = bytearray(encoded(noise, 10))
    at = parse(bytes(data)).length
    data[at + 6 : at + 10] = bytes(4)  # Psot
    check(bytes(data), parse(bytes(data)))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda d: d[:-2], "breaks off"),
        (lambda d: d[:-4096] + bytes(4096), "do not end where they should"),
        (lambda d: d[: len(d) // 2], "do not end where they should"),
        (lambda d: d[:5000] + bytes(5000) + d[10000:], "a hole"),
        (lambda d: d[:5000] + random.Random(0).randbytes(4096) + d[9096:], "a marker"),
        (lambda d: d[:5000] + b"\xff" * 512 + d[5512:], "a marker"),
        (lambda d: d[:5000] + d[5100:], "do not end where they should"),
        (lambda d: d[:5000] + bytes(100) + d[5000:], "do not end where they should"),
    ],
)
def test_damaged_data_is_refused_though_a_codec_takes_it(noise, change, match):
    """At full resolution the values would mostly give it away, where the codestream says 16 bits; not at half."""
    data = change(encoded(noise, 10))
    with pytest.raises(ValueError, match=match):
        check(data, parse(data))
