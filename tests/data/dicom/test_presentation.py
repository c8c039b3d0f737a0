"""Headers that change pixels, wherever they stand: applied right, or refused by name with the next step."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames

from dbtssl.data.dicom.frames import read_frames, read_header
from dbtssl.data.prepared.display import apply_window
from dbtssl.data.records import Window
from dbtssl.data.sources.slice_folder import SliceFolder
from dbtssl.errors import DataError

LUT = Dataset()
LUT.LUTDescriptor, LUT.LUTData = [4, 0, 16], b"\0\0\1\0\2\0\3\0"


def item(sequence, **fields):
    """A functional group that holds one macro."""
    inner, group = Dataset(), Dataset()
    for name, value in fields.items():
        setattr(inner, name, value)
    setattr(group, sequence, [inner])
    return group


def voi(center=512, width=512, **fields):
    return item("FrameVOILUTSequence", WindowCenter=center, WindowWidth=width, **fields)


def rescale(slope=1, intercept=0):
    return item("PixelValueTransformationSequence", RescaleSlope=slope, RescaleIntercept=intercept)


def overlay(position):
    return {"OverlayBitPosition": position}


FAULTS = [
    ({"HighBit": 15}, "HighBit 15 of 10 bits stored"),
    ({"PhotometricInterpretation": "MONOCHROME1"}, "PhotometricInterpretation MONOCHROME1"),
    ({"PixelRepresentation": 1}, "PixelRepresentation 1"),
    ({"PresentationLUTShape": "INVERSE"}, "PresentationLUTShape INVERSE"),
    ({"PresentationLUTSequence": [LUT]}, "PresentationLUTSequence"),
    ({"ModalityLUTSequence": [LUT]}, "ModalityLUTSequence"),
    ({"RescaleSlope": 0.5}, "RescaleSlope 0.5"),
    ({"RescaleIntercept": -100}, "RescaleIntercept -100"),
    ({"VOILUTSequence": [LUT]}, "VOILUTSequence"),
    ({"VOILUTFunction": "SIGMOID"}, "VOILUTFunction SIGMOID"),
]
OF_GROUPS = [
    ({"SharedFunctionalGroupsSequence": [voi(VOILUTFunction="SIGMOID")]}, "VOILUTFunction SIGMOID"),
    ({"SharedFunctionalGroupsSequence": [voi(VOILUTSequence=[LUT])]}, "VOILUTSequence"),
    ({"PerFrameFunctionalGroupsSequence": [rescale(), rescale(), rescale(2)]}, "RescaleSlope 2 of frame 3"),
    ({"PerFrameFunctionalGroupsSequence": [rescale(1, 5)] * 3}, "RescaleIntercept 5 of frame 1"),
    (
        {"PerFrameFunctionalGroupsSequence": [voi(), voi(), voi(VOILUTFunction="SIGMOID")]},
        "VOILUTFunction SIGMOID of frame 3",
    ),
    (
        {"PerFrameFunctionalGroupsSequence": [Dataset(), voi(400, 200)]},
        "WindowCenter and WindowWidth 300 to 500 of frame 2 and 256 to 768 before",
    ),
]  # fmt: skip


@pytest.fixture
def volume(tmp_path, dicom_writer, make_breast):
    frames = make_breast(n=3)[0]

    def write(pixels=frames, **fields):
        return dicom_writer(tmp_path / "1-1.dcm", pixels, **fields)

    return write


def refused(path, match):
    with pytest.raises(DataError) as error:
        list(read_frames(path))
    assert match in error.value.message
    assert error.value.hint
    assert "download it again" not in error.value.hint
    return error.value


@pytest.mark.parametrize(("fields", "told"), FAULTS + OF_GROUPS)
@pytest.mark.parametrize("compress", [False, True])
def test_what_is_not_applied_is_refused_by_name(volume, fields, told, compress):
    error = refused(volume(compress=compress, **fields), told)
    assert "; expected " in error.message


@pytest.mark.parametrize(
    "fields",
    [
        {"HighBit": None},
        {"PresentationLUTShape": "IDENTITY"},
        {"VOILUTFunction": "LINEAR_EXACT"},
        {"VOILUTFunction": "LINEAR"},
        {"SharedFunctionalGroupsSequence": [voi(VOILUTFunction="LINEAR_EXACT")]},
        {"PerFrameFunctionalGroupsSequence": [rescale()] * 3},
        {"PerFrameFunctionalGroupsSequence": [voi()] * 3},
        {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 4},
    ],
)
def test_what_changes_nothing_is_read(volume, make_breast, fields):
    path = volume(**fields)
    assert read_header(path).window == Window(256, 768)
    np.testing.assert_array_equal(np.stack([*read_frames(path)]), make_breast(n=3)[0])


def test_several_windows_are_noted_and_the_first_is_taken(volume):
    header = read_header(volume(window=None, WindowCenter=[512, 400], WindowWidth=[512, 200]))
    assert header.window == Window(256, 768)
    assert header.notes[-1] == "the header offers 2 windows, the first is taken"


@pytest.mark.parametrize("compress", [False, True])
def test_padding_in_the_window_is_black(volume, make_breast, compress):
    """White padding, as some vendors have it, with a range; it would be shown as the brightest tissue."""
    frames = make_breast(n=3)[0].copy()
    frames[:, :, -20:-10], frames[:, :, -10:] = 1000, 1023
    fields = {"PixelPaddingValue": 1023, "PixelPaddingRangeLimit": 1000}
    path = volume(frames, compress=compress, **fields)
    got, window = np.stack([*read_frames(path)]), read_header(path).window
    np.testing.assert_array_equal(got[:, :, :-20], frames[:, :, :-20])
    assert apply_window(got[:, :, -20:], window).max() == 0
    if compress:
        with pytest.raises(DataError, match="padding of 1000 to 1023") as error:
            list(read_frames(path, half=True))
        assert "--resolution native" in error.value.hint


def test_padding_that_no_value_makes_black_is_refused(volume):
    shared = [voi(100, 400)]
    refused(
        volume(PixelPaddingValue=0, SharedFunctionalGroupsSequence=shared),
        "PixelPaddingValue 0 in the window",
    )


def test_a_frame_more_than_said_is_refused(volume):
    refused(volume(NumberOfFrames=2), "pixels of 3 frames, the header says 2")
    refused(volume(NumberOfFrames=2, compress=True), "more frames than the 2")


def change(path, harm):
    ds = pydicom.dcmread(path)
    harm(ds)
    ds.save_as(path)
    return path


def test_overlays_in_the_pixel_data_are_named(volume, make_breast):
    frames = make_breast(n=3)[0] | np.uint16(1 << 12)
    error = refused(volume(frames), "the header says 10 bits")
    assert error.hint.startswith("bits above Bits Stored may be overlays")
    path = change(volume(frames), lambda ds: ds.add_new(0x60000102, "US", 12))
    refused(path, "OverlayBitPosition 12, in the pixel data")


@pytest.fixture
def encoded(volume):
    """``encoded(harm)``: a compressed file whose every frame went through ``harm``."""

    def make(harm):
        def each(ds):
            frames = [harm(f) for f in generate_frames(ds.PixelData, number_of_frames=3)]
            ds.PixelData = encapsulate(frames)

        return change(volume(compress=True), each)

    return make


def test_a_signed_stream_is_named(encoded):
    path = encoded(lambda f: f[:42] + bytes([f[42] | 0x80]) + f[43:])  # Ssiz of the first component
    with pytest.raises(DataError, match=r"bits, signed; expected .* unsigned") as error:
        list(read_frames(path))
    assert "not damaged" in error.value.hint
    assert "download it again" not in error.value.hint


def test_jp2_boxes_are_named(encoded):
    box = b"\0\0\0\x0cjP  \r\n\x87\n"
    with pytest.raises(DataError, match="a JP2 file, with boxes, as a frame") as error:
        list(read_frames(encoded(lambda f: box + f)))
    assert "without the boxes" in error.value.hint
    assert "download it again" not in error.value.hint


def test_encapsulated_pixels_under_an_uncompressed_syntax_are_named(volume):
    path = volume(compress=True)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.1\0\0\0", 1))
    with pytest.raises(DataError, match="pixels in encapsulated frames") as error:
        list(read_frames(path))
    assert "download it again" not in error.value.hint


@pytest.fixture
def slices(tmp_path):
    """``slices(name)``: the reader of a volume of the one file ``name``."""

    def make(name, **options):
        (tmp_path / "t.csv").write_text(
            f"file,patient,study,side,projection,slice,label\n{name},P,S,l,cc,0,normal\n"
        )
        return SliceFolder(SliceFolder.Config(**options)).volumes(tmp_path)[0].reader

    return make


@pytest.mark.parametrize(("fields", "told"), FAULTS)
def test_a_dicom_slice_is_refused_by_name(
    slices, tmp_path, dicom_writer, make_breast, fields, told
):
    dicom_writer(tmp_path / "a.dcm", make_breast(n=1)[0], window="top", **fields)
    with pytest.raises(DataError, match=f"of another {told.split()[0]}; expected ") as error:
        slices("a.dcm").header()
    assert error.value.hint


def test_a_window_of_the_users_own_stands_for_the_headers(
    slices, tmp_path, dicom_writer, make_breast
):
    dicom_writer(tmp_path / "a.dcm", make_breast(n=1)[0], VOILUTFunction="SIGMOID")
    assert slices("a.dcm", window=(0, 1023)).header().window == Window(0, 1023)


def test_the_groups_of_a_dicom_slice_are_read(slices, tmp_path, dicom_writer, make_breast):
    dicom_writer(tmp_path / "a.dcm", make_breast(n=1)[0], window="shared")
    assert slices("a.dcm").header().window == Window(256, 768)
    group = [rescale(2)]
    dicom_writer(tmp_path / "b.dcm", make_breast(n=1)[0], PerFrameFunctionalGroupsSequence=group)
    with pytest.raises(DataError, match="of another RescaleSlope"):
        slices("b.dcm").header()


@pytest.mark.parametrize("compress", [False, True])
def test_a_dicom_slice_of_more_frames_than_said_is_refused(
    slices, tmp_path, dicom_writer, make_breast, compress
):
    dicom_writer(tmp_path / "a.dcm", make_breast(n=2)[0], compress=compress, NumberOfFrames=1)
    with pytest.raises(DataError, match="pixels of 2 frames, the header says 1"):
        list(slices("a.dcm").frames())


def test_padding_of_a_dicom_slice_is_black(slices, tmp_path, dicom_writer, make_breast):
    frames = make_breast(n=1)[0].copy()
    frames[:, :, -10:] = 1023
    dicom_writer(tmp_path / "a.dcm", frames, window="top", PixelPaddingValue=1023)
    (got,) = slices("a.dcm").frames()
    np.testing.assert_array_equal(got[:, :-10], frames[0, :, :-10])
    assert got[:, -10:].max() <= 256


RAMP = np.arange(1200, dtype=np.uint16).reshape(40, 30) * 50


def tiff(path, pixels, **tags):
    """A TIFF file written by hand, for what Pillow does not write."""
    import struct

    h, w = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    bits = 8 * pixels.itemsize
    entries = {
        256: w,
        257: h,
        258: bits,
        259: 1,
        262: 1,
        273: 8,
        277: channels,
        278: h,
        279: pixels.nbytes,
    }
    entries |= {int(tag[1:]): value for tag, value in tags.items()}
    start = 8 + pixels.nbytes
    extra = b""
    if channels > 1:
        entries[258] = start
        extra = struct.pack(f"<{channels}H", *[bits] * channels)
    table = struct.pack("<H", len(entries))
    for tag, value in sorted(entries.items()):
        count, kind = (channels, 3) if tag == 258 else (1, 4)
        if tag == 258 and channels == 1:
            kind = 4
        table += struct.pack("<HHII", tag, kind, count, value)
    body = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    path.write_bytes(
        struct.pack("<2sHI", b"II", 42, start + len(extra)) + body + extra + table + bytes(4)
    )
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("white_is", ["0", "most"])
def test_a_tiff_is_read_with_black_as_0(slices, tmp_path, dtype, white_is):
    pixels = (RAMP // (1 if dtype == np.uint16 else 256)).astype(dtype)
    most = np.iinfo(dtype).max
    stored = most - pixels if white_is == "0" else pixels
    tiff(tmp_path / "a.tif", stored, t262=0 if white_is == "0" else 1)
    (got,) = slices("a.tif", window=(0, 1023)).frames()
    np.testing.assert_array_equal(got, pixels)


def png(path, depth, colour, channels):
    import struct
    import zlib

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", 4, 4, depth, colour, 0, 0, 0)
    rows = (b"\0" + bytes(4 * channels * depth // 8)) * 4
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_colour_of_sixteen_bits_is_refused(slices, tmp_path):
    """Pillow would read the upper 8 bits alone, without a word."""
    png(tmp_path / "a.png", 16, 2, 3)
    tiff(tmp_path / "a.tif", np.repeat(RAMP[..., None], 3, axis=2), t262=2)
    for name in ("a.png", "a.tif"):
        with pytest.raises(DataError, match="colour of 16 bits, of which only 8") as error:
            slices(name).header()
        assert "grey" in error.value.hint


def save(path, kind):
    grey = np.zeros((40, 30), dtype=np.uint8)
    image = Image.fromarray(grey)
    if kind == "palette":
        image.convert("P").save(path)
    elif kind == "1 bit":
        image.convert("1").save(path)
    elif kind == "alpha":
        image.convert("LA").save(path)
    elif kind == "transparent":
        image.save(path, transparency=0)
    elif kind == "float":
        Image.fromarray(grey.astype(np.float32)).save(path)
    elif kind == "pages":
        image.save(path, save_all=True, append_images=[image])
    elif kind == "turned":
        exif = Image.Exif()
        exif[274] = 3
        image.save(path, exif=exif)


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("palette", "a.png", "a palette"),
        ("1 bit", "a.png", "1 bit"),
        ("1 bit", "a.tif", "1 bit"),
        ("alpha", "a.png", "alpha"),
        ("transparent", "a.png", "a transparent value"),
        ("float", "a.tif", "floating-point"),
        ("pages", "a.tif", "2 pages"),
        ("turned", "a.tif", "an orientation of 3"),
        ("turned", "a.png", "an orientation of 3"),
        ("turned", "a.jpg", "an orientation of 3"),
    ],
)
def test_what_is_not_plain_grey_is_refused_by_name(slices, tmp_path, kind, name, told):
    save(tmp_path / name, kind)
    reader = slices(name)
    with pytest.raises(DataError, match=told) as error:
        reader.header()
    assert error.value.hint
    with pytest.raises(DataError, match=told):
        list(reader.frames())
