from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)
from scipy.ndimage import binary_erosion

from dbtssl.data.dicom.frames import Header, read_frame, read_frames, read_header
from dbtssl.data.records import Window
from dbtssl.errors import DataError

CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 1024, (5, 40, 32), dtype=np.uint16)


@pytest.fixture
def volume(tmp_path, frames, dicom_writer):
    def write(**how):
        return dicom_writer(tmp_path / "1-1.dcm", frames, **how)

    return write


def pixels(path):
    return np.stack([*read_frames(path)])


def refused(path, match, read=pixels):
    with pytest.raises(DataError, match=match) as error:
        read(path)
    assert str(path) in error.value.message
    assert "SECRET" not in str(error.value)
    return error.value


@pytest.mark.parametrize("compress", [False, True])
def test_every_frame_comes_back(volume, frames, compress):
    path = volume(compress=compress)
    header = read_header(path)
    assert header[:4] == (5, 40, 32, Window(256.0, 768.0))
    assert header.bits == 10
    got = pixels(path)
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got, frames)


@pytest.mark.parametrize("compress", [False, True])
def test_single_frames(volume, frames, compress):
    path = volume(compress=compress)
    for z in (0, 3, 4):
        np.testing.assert_array_equal(read_frame(path, z), frames[z])
    some = np.stack([*read_frames(path, [1, 3], read_header(path))])
    np.testing.assert_array_equal(some, frames[[1, 3]])


def test_a_frame_is_read_without_those_after_it(volume, frames):
    path = volume(compress=True)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 3000])
    np.testing.assert_array_equal(read_frame(path, 1), frames[1])
    refused(path, "frame 5 of 5 cannot be decoded", lambda p: read_frame(p, 4))


@pytest.mark.parametrize("z", [-1, 5])
def test_a_slice_outside_is_refused(volume, z):
    refused(volume(), f"no slice {z}, the volume has 5", lambda p: read_frame(p, z))


@pytest.mark.parametrize("window", ["shared", "top", "per-frame"])
def test_the_window_is_found_wherever_it_is(volume, window):
    assert read_header(volume(window=window)).window == (256.0, 768.0)


def test_the_shared_window_goes_before_the_top_level(volume):
    path = volume(window="shared", WindowCenter=100, WindowWidth=50)
    assert read_header(path).window == (256.0, 768.0)


def test_the_first_of_several_windows_is_taken(volume):
    path = volume(window=None, WindowCenter=[100, 1], WindowWidth=[50, 2])
    assert read_header(path).window == (75.0, 125.0)


@pytest.mark.parametrize(
    "fields", [{}, {"WindowCenter": 512}, {"WindowCenter": 512, "WindowWidth": 0}]
)
def test_no_window_is_refused(volume, fields):
    refused(volume(window=None, **fields), "no usable window")


def test_another_kind_of_image_is_refused(volume):
    refused(
        volume(SOPClassUID=CT),
        "not tomosynthesis: expected Breast Tomosynthesis .*, found CT Image Storage",
    )


def test_no_kind_of_image_is_refused(volume):
    refused(volume(SOPClassUID=None), "not tomosynthesis.*found no SOP class")


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"PhotometricInterpretation": "MONOCHROME1"}, "PhotometricInterpretation MONOCHROME1"),
        ({"PixelRepresentation": 1}, "PixelRepresentation 1"),
        ({"SamplesPerPixel": 3}, "SamplesPerPixel 3"),
        ({"RescaleSlope": 2}, "RescaleSlope 2"),
        ({"NumberOfFrames": None}, "the header lacks NumberOfFrames"),
        ({"NumberOfFrames": 0}, "0 frames of 40 x 32"),
        ({"Rows": None}, "the header lacks Rows"),
        ({"Rows": 65535, "Columns": 65535}, "5 frames of 65535 x 65535 pixels; expected at most"),
        ({"NumberOfFrames": 5000}, "5000 frames of 40 x 32 pixels; expected at most 4096"),
        ({"NumberOfFrames": 6}, "12800 bytes of pixels, the header says 15360"),
        ({"BitsAllocated": 32}, "10 bits stored in 32"),
        ({"BitsStored": 9, "HighBit": 8}, "a value of 102., the header says 9 bits"),
        ({"PhotometricInterpretation": "SECRET"}, "PhotometricInterpretation of another kind"),
    ],
)
def test_pixels_of_another_kind_are_refused(volume, fields, match):
    refused(volume(**fields), match)


def test_a_missing_file_is_refused(tmp_path):
    refused(tmp_path / "absent.dcm", "no such file")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not an image" * 20])
def test_another_format_is_refused(tmp_path, content):
    path = tmp_path / "1-1.dcm"
    path.write_bytes(content)
    assert "download it again" in refused(path, "not a DICOM file").hint


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("share", [0.002, 0.01, 0.02, 0.03, 0.05, 0.06, 0.1, 0.3, 0.5, 0.9, 0.99])
def test_a_file_that_is_cut_off_is_refused(volume, compress, share):
    path = volume(compress=compress)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "download it again" in refused(path, ".").hint


def test_every_cut_through_the_header_is_refused(volume):
    path = volume(compress=True)
    whole = path.read_bytes()
    for cut in range(0, whole.index(b"\xe0\x7f\x10\x00") + 60, 7):
        path.write_bytes(whole[:cut])
        refused(path, ".")


def test_no_pixels_is_refused(volume):
    refused(volume(PixelData=None), "no pixels")


@pytest.mark.parametrize(
    ("n", "match"), [(4, "more frames than the 4"), (7, "5 frames, the header says 7")]
)
def test_another_number_of_frames_is_refused(volume, n, match):
    refused(volume(compress=True, NumberOfFrames=n), match)


def test_another_size_of_frames_is_refused(volume):
    refused(
        volume(compress=True, Rows=41),
        "frames of 40 x 32, the header says 41 x 32",
    )


def test_a_broken_codestream_is_refused(volume):
    path = volume(compress=True)
    whole = path.read_bytes()
    at = whole.index(
        b"\xff\x4f\xff\x51", whole.index(b"\xff\x4f\xff\x51") + 4
    )  # SOC and SIZ of the second frame
    path.write_bytes(whole[: at + 2] + bytes(40) + whole[at + 42 :])
    refused(path, "frame 2 of 5 cannot be decoded")


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("harm", ["hole", "end", "foreign"])
def test_damage_inside_a_frame_that_the_codec_takes_is_refused(tmp_path, dicom_writer, harm, half):
    """A page that was never written, an end that was never fetched, a block of another file."""
    rng = np.random.default_rng(0)
    frames = rng.integers(400, 600, (3, 300, 256), dtype=np.uint16)
    path = dicom_writer(tmp_path / "1-1.dcm", frames, compress=True)
    whole = path.read_bytes()
    starts = [at for at in range(len(whole)) if whole.startswith(b"\xff\x4f\xff\x51", at)]
    at, end = starts[1] + 20_000, starts[2] - 8  # the head of the next item
    if harm == "hole":
        content = whole[:at] + bytes(8192) + whole[at + 8192 :]
    elif harm == "end":
        content = whole[: end - 3000] + bytes(3000) + whole[end:]
    else:
        content = whole[:at] + rng.bytes(8192) + whole[at + 8192 :]
    assert len(content) == len(whole)
    path.write_bytes(content)
    read = list(read_frames(path, [0, 2], half=half))
    assert len(read) == 2
    with pytest.raises(DataError, match="frame 2 of 3 cannot be decoded") as error:
        list(read_frames(path, half=half))
    assert "download it again" in error.value.hint


def test_a_real_header(real):
    """DBT-P00853: 10 bits stored, 16 in the codestream; 45 per-frame items for 4 frames of pixels."""
    path = real / "real_header_noise_pixels.dcm"
    header = read_header(path)
    assert header[:4] == (4, 128, 128, Window(256.0, 768.0))
    assert header.notes == ("the per-frame sequence has 45 items, the volume 4 frames",)
    got = pixels(path)
    assert got.shape == (4, 128, 128)
    assert (got.min(), got.max()) == (0, 1023)
    np.testing.assert_array_equal(got, pydicom.dcmread(path).pixel_array)
    np.testing.assert_array_equal(read_frame(path, 2), got[2])


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_uncompressed_files(volume, frames, syntax):
    path = volume()
    ds = pydicom.dcmread(path)
    if syntax == ExplicitVRBigEndian:
        ds.PixelData = frames.astype(">u2").tobytes()
    ds.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(
        path, ds, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian
    )
    np.testing.assert_array_equal(pixels(path), frames)


def test_another_encoding_is_refused(volume):
    path = volume()
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(path)
    refused(path, "cannot read Deflated Explicit VR Little Endian; expected JPEG 2000")


def test_a_frame_in_several_fragments(volume, frames):
    """Two fragments a frame and an empty offset table, which the standard allows."""
    path = volume(compress=True)
    ds = pydicom.dcmread(path)
    encoded = list(generate_frames(ds.PixelData, number_of_frames=5))
    ds.PixelData = encapsulate(encoded, fragments_per_frame=2, has_bot=False)
    ds.save_as(path)
    np.testing.assert_array_equal(pixels(path), frames)
    np.testing.assert_array_equal(read_frame(path, 3), frames[3])


def test_a_header_of_another_reader_is_read_again(volume, frames):
    header = Header(n_slices=5, rows=40, columns=32, window=Window(0.0, 1.0))
    np.testing.assert_array_equal(read_frame(volume(compress=True), 1, header), frames[1])


def test_half_resolution(tmp_path, make_breast, dicom_writer):
    frames, mask = make_breast(n=2, rows=151, columns=120)
    path = dicom_writer(tmp_path / "1-1.dcm", frames, compress=True)
    half = np.stack([*read_frames(path, half=True)])
    assert half.shape == (2, 76, 60)
    inside = binary_erosion(mask, iterations=4)[1::2, ::2][:75]
    mean = frames[:, :150].reshape(2, 75, 2, 60, 2).mean(axis=(2, 4))
    difference = np.abs(half[:, :75] - mean)[:, inside]
    assert (
        difference.mean() < 12
    )  # the noise of a pixel; precision 10 is stretched 64 times by Pillow
    assert abs(half[:, :75][:, inside].mean() - mean[:, inside].mean()) < 1


def test_half_resolution_needs_a_codestream(volume, frames):
    np.testing.assert_array_equal(np.stack([*read_frames(volume(), half=True)]), frames)


def test_half_resolution_of_a_real_header(real):
    """The codestream says 16 bits: values must not be divided by 64."""
    path = real / "real_header_noise_pixels.dcm"
    half, full = (np.stack([*read_frames(path, half=h)]) for h in (True, False))
    assert half.shape == (4, 64, 64)
    assert half.max() <= 1023
    assert abs(half.mean() - full.mean()) < 5
