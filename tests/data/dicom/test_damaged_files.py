"""Files as broken disks, downloads and converters leave them: a typed error, no crash, no hang, no flood of memory.

They are read in a process of their own, so that a crash is an exit code, a hang an alarm, and memory can be measured.
That process may not map more than 4 GB either: what is reserved and never touched does not show in what it measures.
"""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
from functools import partial

import pydicom
import pytest
from pydicom.encaps import encapsulate

from dbtssl.data.preparation.preparation_state import read_quarantine
from dbtssl.data.prepared.prepared_dataset import PreparedDataset

READ = """
import json, resource, signal, sys
from pathlib import Path
from dbtssl.data.dicom.frames import read_frames, read_header
from dbtssl.errors import DataError

for half in (False, True):
    list(read_frames(Path(sys.argv[1]), half=half))  # loads the codecs
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))  # its libraries alone map half a GB
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


@pytest.fixture
def read(peak_memory):
    return partial(_read, peak_memory)


def _read(peak_memory, good, folder):
    """What becomes of every file of ``folder``."""
    done = subprocess.run(
        [sys.executable, "-c", peak_memory + READ, str(good), str(folder)],
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


def test_everything_else_that_can_be_wrong(read, good, folder, dicom_writer, make_breast):
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


def test_all_of_them_are_quarantined_and_the_others_prepared(tree, tmp_path, dicom_writer):
    """The same through ``dbtssl data prepare`` with two processes."""
    tree.add("P0", "lcc", "cancer", compress=True)
    for i in range(1, 12):
        tree.add(f"P{i}", "lcc", compress=True)
    tree.tables()
    paths = sorted(tree.root.glob("Breast*/*/*/*/1-1.dcm"))
    whole, *bad = [p for p in paths if "/P0/" in str(p)] + [
        p for p in paths if "/P0/" not in str(p)
    ]
    content = whole.read_bytes()
    for path, cut in zip(
        bad[:6], (1, 127, 132, len(content) // 4, len(content) // 2, -60), strict=True
    ):
        path.write_bytes(content[:cut])
    bad[6].write_text("no DICOM")
    begin = content.index(b"\xff\x93") + 2  # SOD
    bad[7].write_bytes(content[: begin + 100] + b"\xff\xa0" + content[begin + 102 :])
    for path, fields in zip(
        bad[8:],
        ({"Rows": 65535, "Columns": 65535}, {"NumberOfFrames": 0}, {"NumberOfFrames": 4096}),
        strict=True,
    ):
        ds = pydicom.dcmread(path)
        for name, value in fields.items():
            setattr(ds, name, value)
        ds.save_as(path)
    out = tmp_path / "out"
    words = [
        "data",
        "prepare",
        "bcs-dbt",
        str(tree.root),
        str(out),
        "--jobs",
        "2",
        "--max-bad",
        "11",
    ]
    done = subprocess.run(
        [sys.executable, "-c", f"from dbtssl.cli.main import main\nmain({words!r})"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert [v.id for v in PreparedDataset.open(out).cohort] == ["P0_S1_lcc"]
    found = read_quarantine(out)
    assert set(found) == {f"P{i}_S1_lcc" for i in range(1, 12)}
    assert all(bad.reason and bad.hint for bad in found.values())


def test_lengths_that_are_not_true(read, good, folder):
    for name, content in lies(good.read_bytes()):
        (folder / name).write_bytes(content)
    check(read(good, folder))


def test_a_codestream_that_claims_another_size_takes_no_memory(
    read, folder, tmp_path, dicom_writer, make_breast
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


def test_a_codestream_of_countless_tiles_takes_no_memory(
    read, folder, tmp_path, dicom_writer, make_breast
):
    """57,000 of 9 x 9 pixels, as a flipped bit or two in SIZ make them, took the codec 545 MB."""
    frames, _ = make_breast(n=1, rows=2457, columns=1890)
    good = dicom_writer(tmp_path / "good.dcm", frames, compress=True)
    for size in (1, 9, 32):
        whole = bytearray(good.read_bytes())
        at = whole.index(b"\xff\x4f\xff\x51") + 24  # XTsiz
        whole[at : at + 8] = struct.pack(">II", size, size)
        (folder / f"tiles of {size}").write_bytes(whole)
    found = read(good, folder)
    assert {said[0] for said in found.values()} == {"refused"}


def test_flipped_bits(read, good, folder):
    """200 at random, half of them in the header, and where the codestream begins."""
    rng = random.Random(1)
    whole = good.read_bytes()
    header = pixel_data(whole)
    bits = 8 * header, 8 * (header + 400), 8 * len(whole)
    places = set(rng.sample(range(bits[0]), 80)) | set(rng.sample(range(*bits[:2]), 60))
    places |= set(rng.sample(range(bits[1], bits[2]), 60))
    assert len(places) == 200
    for bit in places:
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        (folder / f"bit {bit}").write_bytes(content)
    found = read(good, folder)
    assert len(found) == 2 * 200
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
