"""Text of headers, ids and paths is looked for in every byte that comes out; none may be there.

A canary stands in every element whose value is text, in file meta, data set, sequences and private tags, and, as far
as a source allows, in the names of files and folders and in the ids.
"""

from __future__ import annotations

import csv
import shutil
from functools import cache

import blosc2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
import pytest
from PIL import Image
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset

from dbtssl.cli.main import main
from dbtssl.data.prepared.prepared_dataset import PreparedDataset

TEXT = "KANARIENVOGEL"  # of the headers: 13 capitals fit every text VR
PLACE = "WELLENSITTICH"  # of files and folders
WHO = "ZEISIG"  # of patients and studies
DATE, NUMBER = "17760704", "1414213562"
OF_VR = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"), TEXT),
    "AS": "067Y",  # four characters are too few to look for
    "DA": DATE,
    "DT": f"{DATE}031415",
    "TM": "031415.926535",
    "IS": NUMBER,
    "DS": f"{NUMBER}.5",
    "UI": f"1.2.826.0.1.{NUMBER}",
    "UN": TEXT.encode(),
    "OB": TEXT.encode() + b"\0",
}
HEADER = (TEXT, DATE, NUMBER, "031415.926535")
KEPT = {  # what a volume is read by
    *("TransferSyntaxUID", "MediaStorageSOPClassUID", "FileMetaInformationVersion"),
    *("SOPClassUID", "NumberOfFrames", "PhotometricInterpretation", "WindowCenter", "WindowWidth"),
    *("RescaleSlope", "RescaleIntercept", "SpecificCharacterSet", "PixelSpacing"),
}


def sing(ds, *, meta=False):
    """Put a canary into every element, retired or not, that may hold one and is not read; return how many there are."""
    count = 0
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        group = tag >> 16
        if vr not in OF_VR or keyword in KEPT:
            continue
        if group in (0x0000, 0x0004, 0x7FE0, 0xFFFE) or (group == 0x0002) != meta:
            continue
        ds.add_new(tag, vr, OF_VR[vr])
        count += 1
    return count


def private(ds):
    block = ds.private_block(0x0099, TEXT, create=True)
    for i, (vr, value) in enumerate(OF_VR.items()):
        block.add_new(i, vr, value)


@pytest.fixture(autouse=True)
def config(monkeypatch, tmp_path):
    """The user's configuration folder, an empty one."""
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path / "config" / name)


@cache
def choir():
    """A sequence's item of canaries."""
    inner = Dataset()
    assert sing(inner) > 2200
    private(inner)
    return inner


def fill(path, **change):
    """Put canaries everywhere into the DICOM file at ``path``; ``change`` sets elements that are read."""
    before = pydicom.config.settings.writing_validation_mode
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    try:
        _fill(path, change)
    finally:
        pydicom.config.settings.writing_validation_mode = before


def _fill(path, change):
    ds = pydicom.dcmread(path)
    for name in ("PatientID", "PatientName"):
        if name in ds:
            delattr(ds, name)
    sing(ds)
    private(ds)
    ds.RequestAttributesSequence = [choir()]
    groups = ds.get("SharedFunctionalGroupsSequence") or [Dataset()]
    private(groups[0])
    small = Dataset()
    private(small)
    groups[0].FrameAnatomySequence = [small]
    assert sing(ds.file_meta, meta=True) > 8
    ds.preamble = (TEXT * 10)[:128].encode()
    for name, value in change.items():
        setattr(ds, name, value)
    ds.save_as(path, enforce_file_format=True)
    data = path.read_bytes()
    assert all(data.count(word.encode()) > 20 for word in (TEXT, DATE, NUMBER))


def call(*args):
    with pytest.raises(SystemExit) as left:
        main([str(a) for a in args], prog_name="dbtssl")
    return left.value.code or 0


def everything(folder):
    """Every byte below ``folder``, names included, and what lies compressed in tables, arrays and pictures."""
    for path in sorted(folder.rglob("*")):
        yield path.name, str(path.relative_to(folder)).encode()
        if not path.is_file():
            continue
        yield path.name, path.read_bytes()
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            yield path.name, repr(table.to_pylist()).encode()
            yield path.name, repr((table.schema.metadata, table.schema)).encode()
        elif path.suffix == ".b2nd":
            array = blosc2.open(str(path))
            yield path.name, repr((array.schunk.vlmeta.getall(), dict(array.schunk.meta))).encode()
            yield path.name, np.ascontiguousarray(array[:]).tobytes()
        elif path.suffix == ".png":
            with Image.open(path) as image:
                yield path.name, repr(image.info).encode()


def heard(pieces, words):
    """Which of ``words`` are in ``pieces``, and where; in any case and in three encodings."""
    out = set()
    for name, data in pieces:
        lower = data.lower()
        for word in words:
            if any(word.lower().encode(e) in lower for e in ("utf-8", "utf-16-le", "utf-16-be")):
                out.add((name, word))
    return out


def test_the_ear_hears(tmp_path):
    (tmp_path / f"a{PLACE}").mkdir()
    (tmp_path / "b.txt").write_bytes(b"x" + TEXT.encode("utf-16-be"))
    (tmp_path / "c.txt").write_bytes(TEXT.lower().encode())
    pq.write_table(pa.table({"x": [WHO] * 99}), tmp_path / "d.parquet", compression="zstd")
    found = heard(everything(tmp_path), (TEXT, PLACE, WHO))
    assert found == {(f"a{PLACE}", PLACE), ("b.txt", TEXT), ("c.txt", TEXT), ("d.parquet", WHO)}


@pytest.fixture(scope="module")
def master(tmp_path_factory, tree_at):
    """A BCS-DBT folder of three volumes; the names of folders and files hold canaries where the tables say so."""
    tree = tree_at(tmp_path_factory.mktemp("master") / PLACE / f"manifest-{DATE}")
    tree.add("P1", "lcc", "cancer").add("P2", "rcc").add("P3", "lmlo", "benign")
    for row in tree.paths[1:]:
        old = tree.root / row[-1]
        row[-1] = row[-1].replace("1.3.", f"1.3.{NUMBER}.")
        row[-2] = (
            f"Breast-Cancer-Screening-DBT/{row[0]}/01-01-2000-{row[1]}-{TEXT}-12345/2.000000-12345/1-1.dcm"
        )
        (tree.root / row[-1]).parent.mkdir(parents=True)
        fill(old.rename(tree.root / row[-1]))
    return tree.tables()


@pytest.fixture
def bcs(master, tmp_path):
    return shutil.copytree(master, tmp_path / PLACE / master.name)


@pytest.mark.parametrize("jobs", [1, 2])  # worker processes have a screen of their own
def test_nothing_of_a_header_or_a_path_comes_out_of_bcs_dbt(bcs, tmp_path, capfd, jobs):
    out = tmp_path / "out"
    assert call("data", "prepare", "bcs-dbt", bcs, out, "--jobs", jobs) == 0
    assert call("data", "show", out, "--png", out / "sheet.png") == 0
    assert call("data", "audit", out) == 0
    assert call("data", "audit", out, "--json") == 0
    assert [v.patient for v in PreparedDataset.open(out).cohort] == ["P1", "P2", "P3"], "public ids"
    assert heard(everything(out), (*HEADER, PLACE)) == set()
    assert call("data", "audit", bcs, "--source", "bcs-dbt", "--jobs", 1) == 0
    assert heard([("screen", "".join(capfd.readouterr()).encode())], (*HEADER, PLACE)) == set()


@pytest.mark.parametrize("harm", ["photometric", "window", "cut", "frames", "pixels"])
def test_nothing_of_a_header_comes_out_of_a_bad_volume(bcs, tmp_path, capfd, harm):
    path = next(bcs.glob("Breast*/P2/*/*/1-1.dcm"))
    if harm == "photometric":
        fill(path, PhotometricInterpretation=TEXT)
    elif harm == "window":
        shared = Dataset()
        fill(path, SharedFunctionalGroupsSequence=[shared])
    elif harm == "frames":
        fill(path, NumberOfFrames="4711")
    else:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // (2 if harm == "cut" else 1) - 1001])
    out = tmp_path / "out"
    assert call("data", "prepare", "bcs-dbt", bcs, out, "--jobs", 1) == 2
    assert call("data", "prepare", "bcs-dbt", bcs, out, "--jobs", 1, "--max-bad", 1) == 0
    assert [v.patient for v in PreparedDataset.open(out).cohort] == ["P1", "P3"]
    assert call("data", "audit", bcs, "--source", "bcs-dbt", "--jobs", 1) == 0
    assert heard(everything(out), (*HEADER, PLACE)) == set()
    words = "".join(capfd.readouterr())
    assert "P2_S1_rcc" in words, "the user is told which volume it is"
    header = (
        TEXT,
        DATE,
        "031415.926535",
    )  # the number is in the name of the file, which may be told
    assert heard([("screen", words.replace(str(bcs), "").encode())], header) == set()


@pytest.fixture(scope="module")
def slices_master(tmp_path_factory, dicom_writer, make_breast):
    """Two patients of a source that is not public: one as DICOM files, one as PNG; canaries in every name and id."""
    root = tmp_path_factory.mktemp("master") / PLACE
    rows = [
        [
            "file",
            "patient",
            "study",
            "side",
            "projection",
            "slice",
            "label",
            "x",
            "y",
            "width",
            "height",
        ]
    ]
    frames, _ = make_breast("l", n=3)
    for z, frame in enumerate(frames):
        name = f"{WHO}/{PLACE}-{DATE}/{z}{PLACE}.dcm"
        dicom_writer(root / name, frame[None], window="top")
        fill(root / name)
        rows.append([name, f"{WHO}.1", f"{WHO}-{DATE}", "l", "cc", z, "normal", "", "", "", ""])
        name = f"{WHO}/{z}-{PLACE}.png"
        text = Image.fromarray((frame // 4).astype(np.uint8))
        text.info["Comment"] = TEXT
        text.save(root / name)
        box = (30, 50, 9, 8) if z == 1 else ("",) * 4
        rows.append([name, f"{WHO}.2", f"{WHO}-{DATE}", "l", "mlo", z, "cancer", *box])
    with (root / f"{PLACE}.csv").open("w", newline="") as f:
        csv.writer(f).writerows(rows)
    return root


@pytest.fixture
def slices(slices_master, tmp_path):
    return shutil.copytree(slices_master, tmp_path / PLACE)


ALL = (*HEADER, PLACE, WHO)


def test_nothing_at_all_comes_out_of_a_source_that_is_not_public(slices, tmp_path, capfd):
    out = tmp_path / "out"
    assert call("data", "prepare", "slices", slices, out, "--jobs", 1) == 0
    assert call("data", "show", out, "--png", out / "sheet.png") == 0
    assert call("data", "audit", out) == 0
    assert call("data", "audit", slices, "--source", "slices", "--jobs", 1, "--json") == 0
    assert len(PreparedDataset.open(out).cohort) == 2
    assert heard(everything(out), ALL) == set()
    assert heard([("screen", "".join(capfd.readouterr()).encode())], ALL) == set()
    assert (tmp_path / "config" / "dbtssl" / "pseudonym.key").is_file()


def test_ids_are_kept_on_request_and_nothing_else(slices, tmp_path):
    out = tmp_path / "out"
    assert call("data", "prepare", "slices", slices, out, "--jobs", 1, "--keep-ids") == 0
    assert {v.patient for v in PreparedDataset.open(out).cohort} == {f"{WHO}.1", f"{WHO}.2"}
    assert heard(everything(out), (TEXT, NUMBER, PLACE)) == set()
    assert not (tmp_path / "config").exists()


@pytest.mark.parametrize("kind", ["dcm", "png"])
@pytest.mark.parametrize("harm", ["header", "cut", "gone"])
def test_a_bad_volume_of_a_source_that_is_not_public_is_told_without_a_name(
    slices, tmp_path, capfd, kind, harm
):
    path = sorted(slices.rglob(f"*.{kind}"))[1]
    if harm == "gone":
        path.unlink()
        path.mkdir()
    elif harm == "cut" or kind == "png":
        path.write_bytes(path.read_bytes()[: 300 if harm == "cut" else 7])
    else:
        fill(path, PhotometricInterpretation=TEXT)
    out = tmp_path / "out"
    first = call("data", "prepare", "slices", slices, out, "--jobs", 1)
    assert first == 2
    if harm != "gone":
        assert call("data", "prepare", "slices", slices, out, "--jobs", 1, "--max-bad", 1) == 0
        assert len(PreparedDataset.open(out).cohort) == 1
    assert heard(everything(out), ALL) == set()
    words = "".join(capfd.readouterr())
    if harm != "gone":  # a listed file that is missing is named, before anything is read
        assert heard([("screen", words.encode())], ALL) == set()
