"""Files as broken disks, downloads and converters leave them: a typed error, no crash, no hang, no flood of memory.

They are read in a process of their own, so that a crash is an exit code, a hang an alarm, and memory can be measured.
"""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys

import pydicom
import pytest
from pydicom.encaps import encapsulate

READ = """
import json, resource, signal, sys
from pathlib import Path
from dbtssl.data.dicom import read_frames, read_header
from dbtssl.errors import DataError

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

for half in (False, True):
    list(read_frames(Path(sys.argv[1]), half=half))  # loads the codecs
before, found = peak(), {}
for path in sorted(Path(sys.argv[2]).iterdir()):
    signal.alarm(10)  # seconds; ends the process
    for half in (False, True):
        try:
            header = read_header(path)
            frames = [(*f.shape, int(f.max())) for f in read_frames(path, header=header, half=half)]
            said = ["read", header.n_slices, header.rows, header.columns, header.bits, frames]
        except DataError as error:
            said = ["refused", error.message, error.hint]
        found[f"{path.name}{' half' * half}"] = said
    print(path.name, file=sys.stderr)
print(json.dumps({"growth": peak() - before, "found": found}))
"""
MOST = 512 << 20  # bytes


def read(good, folder):
    """What becomes of every file of ``folder``."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(good), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["growth"] < MOST
    return told["found"]


@pytest.fixture(params=["jpeg-2000", "uncompressed"])
def good(request, tmp_path, dicom_writer, make_breast):
    frames, _ = make_breast(n=3)
    return dicom_writer(tmp_path / "good.dcm", frames, compress=request.param == "jpeg-2000")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "damaged"
    folder.mkdir()
    return folder


def pixel_data(whole):
    """Where the element of the pixels begins."""
    return whole.index(b"\xe0\x7f\x10\x00")


def lies(whole):
    """Copies of the file with a length that is not true, by what it belongs to."""
    at = pixel_data(whole)
    first = whole.index(b"\x28\x00\x10\x00US")  # Rows
    groups = whole.index(b"\x00\x52\x29\x92SQ")  # shared functional groups
    for value in (0, 1, 0x7FFFFFFF, 0xFFFFFFFE):
        long, short = struct.pack("<I", value), struct.pack("<H", value & 0xFFFF)
        yield f"rows {value}", whole[: first + 6] + short + whole[first + 8 :]
        yield f"groups {value}", whole[: groups + 8] + long + whole[groups + 12 :]
        yield f"pixels {value}", whole[: at + 8] + long + whole[at + 12 :]
        yield f"table {value}", whole[: at + 16] + long + whole[at + 20 :]
        yield f"fragment {value}", whole[: at + 24] + long + whole[at + 28 :]


def test_everything_else_that_can_be_wrong(good, folder, dicom_writer, make_breast):
    whole = good.read_bytes()
    for cut in (0, 1, 127, 132, *(len(whole) * share // 100 for share in (25, 50, 99))):
        (folder / f"cut at {cut}").write_bytes(whole[:cut])
    (folder / "text").write_text("PatientID,StudyUID,View\n" * 200)
    (folder / "zeros").write_bytes(bytes(100_000))
    (folder / "preamble alone").write_bytes(bytes(128) + b"DICM")
    frames, _ = make_breast(n=3)
    compress = pydicom.dcmread(good).file_meta.TransferSyntaxUID.is_compressed
    for name, fields in {
        "wrong class": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"},
        "no frames": {"NumberOfFrames": 0},
        "fewer frames": {"NumberOfFrames": 2} if compress else {"NumberOfFrames": -3},
        "more frames": {"NumberOfFrames": 4},
        "countless frames": {"NumberOfFrames": 2**31 - 1},
        "no rows": {"Rows": None},
        "other rows": {"Rows": 151},
        "huge": {"Rows": 65535, "Columns": 65535, "NumberOfFrames": 1},
        "large": {"Rows": 5000, "Columns": 5000},
        "no pixels": {"PixelData": None},
    }.items():
        dicom_writer(folder / name, frames, compress=compress, **fields)
    small = {"compress": compress, "Rows": 65535, "Columns": 65535}
    dicom_writer(folder / "huge in 1 kB", frames[:1, :32, :32], **small)
    assert (folder / "huge in 1 kB").stat().st_size < 3000
    found = read(good, folder)
    assert len(found) == 2 * (7 + 3 + 10 + 1)
    for name, said in found.items():
        assert said[0] == "refused", (name, said)
        assert said[2], (name, said)


def test_lengths_that_are_not_true(good, folder):
    for name, content in lies(good.read_bytes()):
        (folder / name).write_bytes(content)
    check(read(good, folder))


def test_a_codestream_that_claims_another_size_takes_no_memory(
    folder, tmp_path, dicom_writer, make_breast
):
    """SIZ says 65535 x 65535, and so does the header; or the header does not."""
    frames, _ = make_breast(n=1)
    good = dicom_writer(tmp_path / "good.dcm", frames, compress=True)
    for name, sizes in {"both": (65535, 65535), "most": (5792, 5793), "stream": None}.items():
        ds = pydicom.dcmread(good)
        rows, columns = sizes or (65535, 65535)
        stream = bytearray(next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1)))
        stream[8:16] = stream[24:32] = struct.pack(">II", columns, rows)
        ds.PixelData = encapsulate([bytes(stream)])
        if sizes:
            ds.Rows, ds.Columns = sizes
        ds.save_as(folder / name)
    found = read(good, folder)
    assert {said[0] for name, said in found.items() if "most" not in name} == {"refused"}
    assert found["stream"][1].endswith("frames of 65535 x 65535, the header says 150 x 120")
    check(found)


def test_flipped_bits(good, folder):
    """200 at random, half of them in the header, and where the codestream begins."""
    rng = random.Random(1)
    whole = good.read_bytes()
    header = pixel_data(whole)
    places = [rng.randrange(8 * header) for _ in range(80)]
    places += [rng.randrange(8 * header, 8 * (header + 400)) for _ in range(60)]
    places += [rng.randrange(8 * len(whole)) for _ in range(60)]
    for bit in places:
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        (folder / f"bit {bit}").write_bytes(content)
    found = read(good, folder)
    assert len(found) == 2 * len(set(places))
    check(found)
    assert {said[0] for said in found.values()} == {"read", "refused"}


def check(found):
    """Refused with a next step, or read with the shape and the range that the header says."""
    for name, said in found.items():
        if said[0] == "refused":
            assert said[2], (name, said)
            continue
        _, n, rows, columns, bits, frames = said
        assert len(frames) == n
        shapes = {(rows, columns), *([(-(-rows // 2), -(-columns // 2))] * name.endswith("half"))}
        for *shape, largest in frames:
            assert tuple(shape) in shapes, (name, said)
            assert largest < 1 << bits
