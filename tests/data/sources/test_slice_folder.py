from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path

import numpy as np
import pydicom
import pytest
from click.testing import CliRunner
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dbtssl.cli.main import main
from dbtssl.data.preparation.prepare import PrepareConfig, prepare
from dbtssl.data.prepared.prepared_dataset import PreparedDataset
from dbtssl.data.records import Box, Label, Window
from dbtssl.data.sources.slice_folder import SliceFolder
from dbtssl.errors import ConfigError, DataError

SMOKE = Path(__file__).parents[3] / "benchmarks" / "smoke.toml"
HEADER = [
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


class Folder:
    """Slices in files and rows of the table, written by `write`."""

    def __init__(self, root):
        self.root, self.rows = root, [[*HEADER]]

    def add(self, name, *row, box=("", "", "", ""), pixels=None):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if pixels is None:
            pixels = np.full((40, 30), 100 + len(self.rows), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        self.rows.append([name, *map(str, row), *map(str, box)])
        return self

    def write(self, name="slices.csv"):
        with (self.root / name).open("w", newline="") as lines:
            csv.writer(lines).writerows(self.rows)
        return self.root


@pytest.fixture
def folder(tmp_path):
    """Two volumes: three slices of a cancer with two boxes, out of order, and one normal slice."""
    out = Folder(tmp_path / "data")
    out.add("a/12.png", "P1", "S1", "L", "CC", 12, "cancer", box=(3, 4, 5, 6))
    out.add("a/11.png", "P1", "S1", "L", "CC", 11, "cancer")
    out.add("a/13.png", "P1", "S1", "L", "CC", 13, "cancer", box=(1, 1, 2.5, 2))
    out.add("b.tif", "P0", "S9", "right", "mlo2", 0, "Normal")
    out.write()
    return out


def refused(root, match, **options):
    with pytest.raises(DataError, match=match) as error:
        SliceFolder(SliceFolder.Config(**options)).volumes(root)
    assert error.value.hint
    return error.value


def change(folder, line, column, value):
    folder.rows[line][HEADER.index(column)] = value
    return folder.write()


def test_volumes_are_listed_in_order(folder):
    first, second = SliceFolder().volumes(folder.root)
    assert (first.volume.id, first.volume.label, first.volume.n_slices) == (
        "P0_S9_rmlo2",
        Label.NORMAL,
        1,
    )
    assert (second.volume.id, second.volume.n_slices) == ("P1_S1_lcc", 3)
    assert [path.name for path in second.files] == ["11.png", "12.png", "13.png"]
    assert second.path == second.files[0]
    assert second.oriented
    assert second.volume.boxes == (
        Box(1, 3, 4, 5, 6, Label.CANCER),
        Box(2, 1, 1, 2.5, 2, Label.CANCER),
    )


def test_slices_are_read_in_order_and_one_by_one(folder):
    reader = pickle.loads(
        pickle.dumps(SliceFolder().volumes(folder.root)[1].reader)
    )  # as workers get it
    header = reader.header()
    assert (header.n_slices, header.rows, header.columns, header.window) == (
        3,
        40,
        30,
        Window(0, 255),
    )
    frames = list(reader.frames())
    assert [int(frame[0, 0]) for frame in frames] == [102, 101, 103]
    assert all(frame.dtype == np.uint16 and frame.shape == (40, 30) for frame in frames)
    assert [int(frame[0, 0]) for frame in reader.frames([2, 0])] == [103, 102]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
def test_sixteen_bits_are_kept(tmp_path, suffix):
    pixels = np.arange(1200, dtype=np.uint16).reshape(40, 30) * 50
    folder = Folder(tmp_path).add("a" + suffix, "P", "S", "l", "cc", 0, "normal", pixels=pixels)
    folder.write()
    with pytest.raises(DataError, match="16-bit values of unknown range") as error:
        SliceFolder().volumes(tmp_path)[0].reader.header()
    assert "window=" in error.value.hint
    reader = SliceFolder(SliceFolder.Config(window=(0, 1023))).volumes(tmp_path)[0].reader
    assert reader.header().window == Window(0, 1023)
    assert np.array_equal(next(reader.frames()), pixels)


def test_grey_saved_as_colour_is_grey_and_colour_is_refused(tmp_path):
    grey = np.repeat(np.arange(1200, dtype=np.uint8).reshape(40, 30, 1), 3, axis=2)
    folder = Folder(tmp_path).add("a.png", "P", "S", "l", "cc", 0, "normal", pixels=grey)
    folder.write()
    reader = SliceFolder().volumes(tmp_path)[0].reader
    assert np.array_equal(next(reader.frames()), grey[..., 0])
    grey[0, 0, 1] += 1
    Image.fromarray(grey).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: colour"):
        list(reader.frames())


def test_dicom_slices(tmp_path, dicom_writer, make_breast):
    frames, _ = make_breast(n=2)
    for z in range(2):
        dicom_writer(
            tmp_path / f"{z}.dcm",
            frames[z : z + 1],
            compress=bool(z),
            window="top" if z == 0 else None,
            SOPClassUID="1.2.840.10008.5.1.4.1.1.7",
        )
    folder = Folder(tmp_path)
    folder.rows += [[f"{z}.dcm", "P", "S", "l", "cc", z, "normal", *[""] * 4] for z in range(2)]
    folder.write()
    reader = SliceFolder().volumes(tmp_path)[0].reader
    assert reader.header().window == Window(256, 768)
    assert np.array_equal(np.stack(list(reader.frames())), frames)
    bare = SliceFolder().volumes(tmp_path)[0].reader
    assert type(bare)(bare.files[1:]).header().window == Window(0, 1023)  # ten bits


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"PhotometricInterpretation": "MONOCHROME1"}, "of another PhotometricInterpretation; "),
        ({"RescaleSlope": 2}, "of another RescaleSlope; "),
        ({"PixelRepresentation": 1}, "of another PixelRepresentation; "),
        ({"Rows": None}, "cannot be read as a slice"),
        ({"Rows": 65535, "Columns": 65535}, "65535 x 65535 pixels"),
    ],
)
def test_other_dicom_files_are_refused(tmp_path, dicom_writer, make_breast, fields, match):
    dicom_writer(tmp_path / "a.dcm", make_breast(n=1)[0], **fields)
    folder = Folder(tmp_path)
    folder.rows.append(["a.dcm", "P", "S", "l", "cc", 0, "normal", *[""] * 4])
    reader = SliceFolder().volumes(folder.write())[0].reader
    with pytest.raises(DataError, match=match):
        reader.header()


def test_a_multi_frame_file_is_no_slice(tmp_path, dicom_writer, make_breast):
    dicom_writer(tmp_path / "a.dcm", make_breast(n=2)[0])
    folder = Folder(tmp_path)
    folder.rows.append(["a.dcm", "P", "S", "l", "cc", 0, "normal", *[""] * 4])
    with pytest.raises(DataError, match="of another NumberOfFrames; ") as error:
        SliceFolder().volumes(folder.write())[0].reader.header()
    assert "bcs-dbt" in error.value.hint


@pytest.mark.parametrize(
    ("harm", "match"),
    [
        ("size", "frames of 65535 x 65535, the header says 150 x 120"),
        ("hole", "cannot be read as a slice"),
        ("bits", "a value of .*, the header says 7 bits"),
        ("deflated", "a deflated file"),
    ],
)
def test_damaged_dicom_slices_are_refused(tmp_path, dicom_writer, make_breast, harm, match):
    """Before memory is taken for what they claim, and where the codec would not notice."""
    path = dicom_writer(tmp_path / "a.dcm", make_breast(n=1)[0], compress=True)
    ds = pydicom.dcmread(path)
    stream = next(generate_frames(ds.PixelData, number_of_frames=1))
    if harm == "size":
        huge = (65535).to_bytes(4, "big") * 2  # of the image and of its tile
        stream = stream[:8] + huge + stream[16:24] + huge + stream[32:]
    elif harm == "hole":
        stream = stream[:3000] + bytes(5000) + stream[8000:]
    elif harm == "bits":
        ds.BitsStored, ds.HighBit = 7, 6
    ds.PixelData = encapsulate([stream])
    if harm == "deflated":
        ds.decompress()
        ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(path)
    folder = Folder(tmp_path)
    folder.rows.append(["a.dcm", "P", "S", "l", "cc", 0, "normal", *[""] * 4])
    reader = SliceFolder().volumes(folder.write())[0].reader
    with pytest.raises(DataError, match=match):
        list(reader.frames())


def damaged(path, kind):
    whole = path.read_bytes()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "other":
        path.write_bytes(b"%PDF-1.4 nothing to see")
    elif kind == "gif":
        Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(path, format="GIF")
    elif kind == "alpha":
        Image.fromarray(np.zeros((4, 4, 4), dtype=np.uint8)).save(path)
    elif kind == "float":
        Image.fromarray(np.zeros((4, 4), dtype=np.float32)).save(path, format="TIFF")
    elif kind == "pages":
        page = Image.fromarray(np.zeros((4, 4), dtype=np.uint8))
        page.save(path, format="TIFF", save_all=True, append_images=[page])
    elif kind == "huge":  # a PNG of a hundred bytes that claims 60,000 x 60,000 pixels
        path.write_bytes(whole[:16] + (60_000).to_bytes(4, "big") * 2 + whole[24:])


@pytest.mark.parametrize(
    "kind", ["empty", "cut", "other", "gif", "alpha", "float", "pages", "huge"]
)
def test_damaged_and_foreign_images_are_refused(folder, kind):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (40, 30), dtype=np.uint8)
    Image.fromarray(pixels).save(folder.root / "a" / "11.png")
    damaged(folder.root / "a" / "11.png", kind)
    reader = SliceFolder().volumes(folder.root)[1].reader
    with pytest.raises(DataError, match=r"11\.png"):
        list(reader.frames())
    if kind != "cut":  # its header is whole
        with pytest.raises(DataError, match=r"11\.png"):
            reader.header()


def test_slices_of_a_volume_have_one_size(folder):
    Image.fromarray(np.zeros((40, 31), dtype=np.uint8)).save(folder.root / "a" / "13.png")
    reader = SliceFolder().volumes(folder.root)[1].reader
    with pytest.raises(DataError, match=r"40 x 31 pixels of 8 bits, the first .* has 40 x 30"):
        list(reader.frames())
    Image.fromarray(np.zeros((40, 30), dtype=np.uint16)).save(folder.root / "a" / "13.png")
    with pytest.raises(DataError, match=r"16 bits, the first slice of the volume has .* 8 bits"):
        list(reader.frames())


def test_a_slice_that_went_away_is_refused(folder):
    reader = SliceFolder().volumes(folder.root)[1].reader
    (folder.root / "a" / "13.png").unlink()
    with pytest.raises(DataError, match=r"13\.png: no such file"):
        list(reader.frames())


@pytest.mark.parametrize(
    ("line", "column", "value", "match"),
    [
        (1, "patient", "../P1", "line 2: patient '../P1', expected letters"),
        (1, "study", "", "line 2: study '', expected letters"),
        (1, "side", "x", "line 2: side 'x', expected l or r"),
        (1, "projection", "ml", "line 2: projection 'ml', expected cc or mlo"),
        (1, "projection", "cc20260101", "line 2: projection 'cc20260101', expected cc or mlo"),
        (1, "slice", "-1", "line 2: slice '-1', expected a whole number"),
        (1, "slice", "1.5", "line 2: slice '1.5', expected a whole number"),
        (1, "label", "malignant", "line 2: label 'malignant', expected normal"),
        (1, "file", "/etc/passwd.png", "line 2: file '/etc/passwd.png', expected a file below"),
        (1, "file", "../a.png", "line 2: file '../a.png', expected a file below"),
        (1, "file", "a/12.bmp", "line 2: file 'a/12.bmp', expected a file below"),
        (1, "width", "", "line 2: a box of x '3', y '4', width '', height '6'"),
        (1, "width", "0", "line 2: a box of"),
        (1, "x", "nan", "line 2: a box of"),
        (
            1,
            "label",
            "benign",
            "line 3: label cancer, an earlier row of volume P1/S1/lcc says benign",
        ),
        (2, "slice", "12", "line 3: slice 12 of volume P1/S1/lcc has two files"),
        (2, "file", "a/12.png", "line 3: 12.png is the file of another slice"),
        (2, "slice", "20", "volume P1/S1/lcc has slices 12 to 20, but no slice 14"),
        (4, "label", "benign", "volume P0/S9/rmlo2 is labelled benign and has no box"),
        (4, "file", "c.tif", "1 of 4 listed slices have no file: .*c.tif"),
    ],
)
def test_a_wrong_value_is_refused(folder, line, column, value, match):
    refused(change(folder, line, column, value), match)


def test_a_normal_volume_has_no_box(folder):
    folder.rows[4][-4:] = ["1", "1", "2", "2"]
    refused(folder.write(), "line 5: a normal box, expected benign or cancer")
    for row, value in zip(folder.rows, ["box_label", *["benign"] * 4], strict=True):
        row.append(value)
    refused(folder.write(), "volume P0/S9/rmlo2 is labelled normal and has a box")


def test_a_box_may_have_a_label_of_its_own_and_a_slice_several(folder):
    for row, value in zip(folder.rows, ["box_label", "benign", "", "", ""], strict=True):
        row.append(value)
    folder.rows.append([*folder.rows[1][:-5], "7", "7", "1", "1", "cancer"])
    boxes = SliceFolder().volumes(folder.write())[1].volume.boxes
    assert [(box.z, box.label) for box in boxes] == [
        *((1, Label.BENIGN), (2, Label.CANCER), (1, Label.CANCER))
    ]


@pytest.mark.parametrize("line", [1, 2])
def test_a_row_that_is_there_twice_is_refused(folder, line):
    """With its box, which would be two, or without."""
    folder.rows.append(list(folder.rows[line]))
    refused(folder.write(), rf"line 6: the slice and box of .*line {line + 1} once more")


def test_a_patient_in_two_spellings_is_refused(folder):
    folder.rows[1][1:3] = folder.rows[2][1:3] = folder.rows[3][1:3] = ["7", "S1"]
    folder.rows[4][1:3] = ["007", "S9"]
    refused(folder.write(), "patients '7' and '007' are one number written in two ways")


@pytest.mark.parametrize("value", ["1_0", "nan", "1e9", "\u0663"])
def test_a_side_that_is_no_number_is_refused(folder, value):
    change(folder, 1, "width", value)
    refused(folder.root, "line 2: a box of .* expected four numbers")


def test_gaps_are_a_choice(folder):
    change(folder, 3, "slice", "40")
    raw = SliceFolder(SliceFolder.Config(gaps=True)).volumes(folder.root)[1]
    assert raw.volume.n_slices == 3
    assert [box.z for box in raw.volume.boxes] == [1, 2]


def test_missing_columns_are_named(folder):
    for row in folder.rows:
        del row[3]
    assert "projection" in refused(folder.write(), "missing columns side").hint


def test_the_table_is_found_or_named(folder, tmp_path):
    refused(tmp_path / "absent", "no such folder")
    refused(tmp_path, r"expected one table \*.csv, found none")
    folder.write("other.csv")
    refused(folder.root, "found other.csv, slices.csv")
    assert len(SliceFolder(SliceFolder.Config(table="other.csv")).volumes(folder.root)) == 2
    refused(folder.root, "expected one table third.csv, found none", table="third.csv")


def test_what_macos_leaves_beside_the_table_is_no_table(folder):
    expected = SliceFolder().volumes(folder.root)
    (folder.root / "._slices.csv").write_bytes(b"\0\x05\x16\x07")
    assert SliceFolder().volumes(folder.root) == expected


def test_bytes_that_are_no_text_are_refused(folder):
    (folder.root / "slices.csv").write_bytes(b"file\xff\xfe")
    refused(folder.root, "cannot be read as a table")


def test_black_is_below_white():
    with pytest.raises(ConfigError, match="window: got 5, 5"):
        SliceFolder(SliceFolder.Config(window=(5, 5)))


@pytest.fixture(scope="module")
def slices(real, tmp_path_factory):
    """The 20 real slices: their manifest as this source's table. Each is a volume of one slice.

    Studies and labels that the manifest leaves empty are the patient's in the published table; CC is a guess there.
    """
    table = real / "sift_dbt_lists" / "csv" / "BCS-DBT labels-train-v2.csv"
    with table.open(newline="") as lines:
        published = {row["PatientID"]: row for row in csv.DictReader(lines)}
    root = tmp_path_factory.mktemp("slices")
    rows = [HEADER]
    with (real / "slices" / "manifest.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            known = published[row["PatientID"]]
            label = next(
                name for name in ("Normal", "Actionable", "Benign", "Cancer") if known[name] == "1"
            )
            view = row["View"] or row["edge_laterality"].lower() + "cc"
            ids = [row["file"], row["PatientID"], row["StudyUID"] or known["StudyUID"]]
            box = [row[name] for name in ("X", "Y", "Width", "Height")]
            rows.append([*ids, view[0], view[1:], row["Slice"], row["Class"] or label, *box])
            (root / row["file"]).symlink_to(real / "slices" / row["file"])
    with (root / "slices.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows(rows)
    return root


def test_real_slices(slices):
    """Section 2.1 of the facts: 2457 rows, 1890 or 1996 columns; ten slices with a lesion."""
    raws = SliceFolder().volumes(slices)
    assert len(raws) == 20
    assert (
        sum(len(raw.volume.boxes) for raw in raws)
        == sum(raw.volume.label.abnormal for raw in raws)
        == 10
    )
    headers = [raw.reader.header() for raw in raws[:4]]
    assert {header.rows for header in headers} == {2457}
    assert {header.columns for header in headers} == {1890, 1996}


@pytest.fixture
def own_key(tmp_path, monkeypatch):
    """The ids of this source are hashed, under a key that goes away with the test."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_real_slices_are_prepared(slices, tmp_path, own_key):
    """Nothing is turned, and every box lies on tissue at the prepared size."""
    raws = SliceFolder().volumes(slices)
    out = tmp_path / "out"
    prepare(
        SliceFolder(),
        raws,
        out,
        PrepareConfig(short_side=256),
        name="slices",
        phantom=False,
        jobs=1,
    )
    dataset = PreparedDataset.open(out)
    assert not any(stored.rotated for stored in dataset.stored)
    view = dataset.slices(range(20))
    for i, volume in enumerate(view.cohort):
        mask = view.tissue(i)
        edges = mask[:, 0].sum(), mask[:, -1].sum()
        assert (edges[0] > edges[1]) == (volume.side == "l")
        for box in volume.boxes:
            y, x, h, w = (int(v) for v in (box.y, box.x, box.height, box.width))
            assert mask[y : y + max(h, 1), x : x + max(w, 1)].mean() > 0.8
    counts = json.loads((out / "dataset.json").read_text())["counts"]
    assert (counts["volumes"], counts["boxes"], counts["slices"]) == (20, 10, 20)


@pytest.mark.slow
def test_the_benchmark_runs_on_real_slices(slices, tmp_path, own_key):
    words = ["benchmark", str(SMOKE), "--data", f"slices:{slices}", "--out", str(tmp_path / "runs")]
    words += ["--set", "prepare.short_side=128", "--set", "pretrain.batch_size=8"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "runs" / "smoke" / "table.json").read_text())["rows"]
    assert {"random-init", "moco-v2", "sift-dbt"} <= {row["method"] for row in rows}
