"""The folder: bytes, headers, tables, resuming, and refusals."""

from __future__ import annotations

import csv
import errno
import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
import torch
from pydicom.uid import UID, BreastTomosynthesisImageStorage, JPEG2000Lossless

from dbtssl.errors import DataError
from dbtssl.io import is_partial
from dbtssl.phantom.cohort.phantom_cohort import plan
from dbtssl.phantom.imaging.render import render
from dbtssl.phantom.model.phantom_config import PhantomConfig
from dbtssl.phantom.output import write_cohort as write
from dbtssl.phantom.output.phantom_tables import classic_path
from dbtssl.phantom.output.write_cohort import write_cohort

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = PhantomConfig(patients=6, seed=0, rows=64, spacing=6)
COHORT = CONFIG.cohort


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantom") / "cohort"
    write_cohort(CONFIG, out, jobs=1)
    return out


def rows(path):
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        return reader.fieldnames, list(reader)


def test_two_processes_write_the_same_bytes(folder, tmp_path):
    write_cohort(CONFIG, tmp_path / "cohort", jobs=2)
    assert files(tmp_path / "cohort") == files(folder)


def test_a_volume_alone_is_that_of_the_cohort(folder):
    volumes = plan(CONFIG)
    assert any(v.rotated for v in volumes)
    assert not all(v.rotated for v in volumes)
    for v in (volumes[7], volumes[2], next(v for v in volumes if v.rotated)):
        pixels, boxes = render(CONFIG, v)
        assert boxes == v.boxes
        stored = pydicom.dcmread(folder / classic_path(COHORT, v)).pixel_array
        np.testing.assert_array_equal(stored[:, ::-1, ::-1] if v.rotated else stored, pixels)


def test_threads_do_not_change_a_byte():
    volume = plan(CONFIG)[3]
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(render(CONFIG, volume)[0])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*found)


def test_chest_wall_is_at_the_side_of_the_view():
    for v in plan(CONFIG)[:4]:
        pixels, _ = render(CONFIG, v)
        assert pixels.dtype == np.uint16
        assert pixels.shape == (v.n_slices, v.rows, v.columns)
        first, last = pixels[0, :, 0].sum(), pixels[0, :, -1].sum()
        assert (first > last) == (v.view[0] == "l")


def test_header(folder):
    for v in plan(CONFIG)[:5]:
        data = pydicom.dcmread(folder / classic_path(COHORT, v))
        assert data.file_meta.TransferSyntaxUID == JPEG2000Lossless
        assert data.SOPClassUID == BreastTomosynthesisImageStorage
        assert (data.BitsAllocated, data.BitsStored, data.HighBit) == (16, 10, 9)
        assert (data.PixelRepresentation, data.PhotometricInterpretation) == (0, "MONOCHROME2")
        assert (data.NumberOfFrames, data.Rows, data.Columns) == (v.n_slices, v.rows, v.columns)
        assert (data.PatientID, data.StudyID) == (v.patient, v.study)
        assert data.ViewPosition == v.view[1:].upper()
        assert data.Manufacturer == "dbtssl phantom"
        assert data.StudyDescription == "PHANTOM SCREEN BREAST TOMOSYNTHESIS BILATERAL"
        shared = data[0x5200, 0x9229][0]
        assert shared[0x0028, 0x9132][0][0x0028, 0x1050].value == 512
        assert shared[0x0028, 0x9132][0][0x0028, 0x1051].value == 512
        assert shared[0x0020, 0x9071][0][0x0020, 0x9072].value == "L"
        assert shared.PixelMeasuresSequence[0].SliceThickness == pytest.approx(v.thickness, abs=0.1)
        assert "PixelSpacing" not in shared.PixelMeasuresSequence[0]
        assert len(data.PerFrameFunctionalGroupsSequence) == v.n_slices
        for uid in (data.StudyInstanceUID, data.SeriesInstanceUID, data.SOPInstanceUID):
            assert UID(uid).is_valid
        assert len({data.StudyInstanceUID, data.SeriesInstanceUID, data.SOPInstanceUID}) == 3


def test_single_frames_can_be_read(folder):
    v = plan(CONFIG)[0]
    path = folder / classic_path(COHORT, v)
    frame = pydicom.pixels.pixel_array(path, index=3)
    np.testing.assert_array_equal(frame, pydicom.dcmread(path).pixel_array[3])


def test_tables(folder):
    volumes = plan(CONFIG)
    names, paths = rows(folder / "BCS-DBT-file-paths-train-v2.csv")
    assert names == ["PatientID", "StudyUID", "View", "descriptive_path", "classic_path"]
    assert all((folder / row["classic_path"]).is_file() for row in paths)
    assert len({row["descriptive_path"] for row in paths}) == len(volumes)
    written = {str(p.relative_to(folder)) for p in folder.rglob("*.dcm")}
    assert {row["classic_path"] for row in paths} == written
    for row, v in zip(paths, volumes, strict=True):
        data = pydicom.dcmread(folder / row["classic_path"], stop_before_pixels=True)
        assert row["classic_path"].split("/")[2:4] == [
            data.StudyInstanceUID,
            data.SeriesInstanceUID,
        ]
        assert row["descriptive_path"].split("/")[2].endswith(f"-{data.StudyInstanceUID[-5:]}")
        assert (row["PatientID"], row["StudyUID"], row["View"]) == (v.patient, v.study, v.view)
    names, labels = rows(folder / "BCS-DBT-labels-train-v2.csv")
    assert ",".join(names) == "PatientID,StudyUID,View,Normal,Actionable,Benign,Cancer"
    for row, v in zip(labels, volumes, strict=True):
        assert [
            row[name.capitalize()] for name in ("normal", "actionable", "benign", "cancer")
        ] == [str(int(v.label == k)) for k in range(4)]
    names, boxes = rows(folder / "BCS-DBT-boxes-train-v2.csv")
    assert ",".join(names) == (
        "PatientID,StudyUID,View,Subject,Slice,X,Y,Width,Height,Class,AD,VolumeSlices"
    )
    expected = [(v, b) for v in volumes for b in v.boxes]
    assert expected
    for row, (v, b) in zip(boxes, expected, strict=True):
        found = [int(row[name]) for name in ("Slice", "X", "Y", "Width", "Height")]
        assert found == [b.z, b.x, b.y, b.width, b.height]
        assert (row["Class"], row["AD"]) == (v.label.name.lower(), str(int(b.distortion)))
        assert int(row["VolumeSlices"]) == v.n_slices


def test_note_says_phantom(folder):
    note = json.loads((folder / "phantom.json").read_text())
    assert "phantom" in note["what"]
    assert note["licence"]
    assert PhantomConfig(**note["config"]) == CONFIG


def test_nothing_is_left_beside_the_files(folder):
    tables = {"BCS-DBT-boxes-train-v2.csv", "BCS-DBT-file-paths-train-v2.csv"}
    tables |= {"BCS-DBT-labels-train-v2.csv", "phantom.json", "Breast-Cancer-Screening-DBT"}
    tables |= {"phantom-truth.json"}
    assert {p.name for p in folder.iterdir()} == tables
    assert {p.name for p in folder.rglob("*") if p.is_file()} - tables == {"1-1.dcm"}


def test_a_second_run_does_nothing(folder, monkeypatch):
    monkeypatch.setattr(write, "plan", lambda config: pytest.fail("planned again"))
    write_cohort(CONFIG, folder, jobs=1)


def test_an_interrupted_run_goes_on(folder, tmp_path, monkeypatch):
    out, done = tmp_path / "cohort", []

    def stop_after_five(config, volume):
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(volume.id)
        return render(config, volume)

    monkeypatch.setattr(write, "render", stop_after_five)
    with pytest.raises(KeyboardInterrupt):
        write_cohort(CONFIG, out, jobs=1)
    assert not (out / "phantom.json").exists()
    assert len(list(out.rglob("1-1.dcm"))) == 5
    again = []
    monkeypatch.setattr(write, "render", lambda c, v: again.append(v.id) or render(c, v))
    write_cohort(CONFIG, out, jobs=1)
    assert done + again == [v.id for v in plan(CONFIG)]
    assert files(out) == files(folder)


def test_a_run_killed_at_its_very_start_is_no_obstacle(folder, tmp_path):
    (tmp_path / f".{write.STARTED}.host-1-00.partial").write_text("{")
    (tmp_path / write.LOCK).write_text("")
    write_cohort(CONFIG, tmp_path, jobs=1)
    assert files(tmp_path) == files(folder)


def test_a_full_disk_is_one_message_and_nothing_half_written(tmp_path, monkeypatch):
    out, real, calls = tmp_path / "cohort", write.write_dicom, []

    def full(file, *rest):
        calls.append(1)
        if len(calls) == 3:
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file, *rest)

    monkeypatch.setattr(write, "write_dicom", full)
    with pytest.raises(DataError, match="no space left") as caught:
        write_cohort(CONFIG, out, jobs=1)
    assert "run the same command again" in caught.value.hint
    assert len(list(out.rglob("1-1.dcm"))) == 2
    assert not [path for path in out.rglob("*") if is_partial(path)]
    assert not (out / "phantom.json").exists()


def test_refuses_a_folder_with_another_phantom(folder):
    with pytest.raises(DataError, match="seed is 0 there and 25 here"):
        write_cohort(CONFIG.model_copy(update={"seed": 25}), folder, jobs=1)


def test_refuses_a_phantom_of_another_format(folder, monkeypatch):
    monkeypatch.setattr(write, "FORMAT", write.FORMAT + 1)
    with pytest.raises(DataError, match=f"of format {write.FORMAT - 1}"):
        write_cohort(CONFIG, folder, jobs=1)


def test_refuses_a_folder_with_something_else(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(DataError, match="is not empty"):
        write_cohort(CONFIG, tmp_path, jobs=1)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_refuses_a_broken_note(tmp_path):
    (tmp_path / "phantom.json").write_text("[")
    with pytest.raises(DataError, match="not a phantom's note"):
        write_cohort(CONFIG, tmp_path, jobs=1)


def test_refuses_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file"):
        write_cohort(CONFIG, tmp_path / "file", jobs=1)


def test_refuses_where_it_may_not_write(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write the phantom"):
        write_cohort(CONFIG, tmp_path / "file" / "below", jobs=1)


def test_refuses_to_write_beside_another_run(tmp_path):
    with write.FileLock(tmp_path / write.LOCK), pytest.raises(DataError, match="another run"):
        write_cohort(CONFIG, tmp_path, jobs=1)


def test_a_lost_volume_is_made_again_alone(folder, tmp_path):
    out = tmp_path / "cohort"
    shutil.copytree(folder, out)
    (out / "phantom.json").rename(out / write.STARTED)
    lost = out / classic_path(COHORT, plan(CONFIG)[4])
    lost.unlink()
    kept = {p: p.stat().st_mtime_ns for p in out.rglob("*.dcm")}
    write_cohort(CONFIG, out, jobs=1)
    assert lost.exists()
    assert kept == {p: p.stat().st_mtime_ns for p in kept}
    assert files(out) == files(folder)
