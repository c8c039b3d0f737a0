"""A file counts only where its header does not contradict the table's row."""

from __future__ import annotations

import csv
import json
import os
import re

import pydicom
import pytest
from click.testing import CliRunner
from pydicom.dataset import Dataset

from dbtssl.cli.main import main
from dbtssl.data.dicom.dicom_files import Ids
from dbtssl.data.dicom.identity import contradictions
from dbtssl.data.preparation.prepare import PrepareConfig, prepare
from dbtssl.data.prepared.prepared_dataset import PreparedDataset
from dbtssl.data.sources.bcs_dbt import BcsDbt
from dbtssl.data.sources.layouts import listed_paths, locate
from dbtssl.data.sources.slice_folder import SliceFolder
from dbtssl.data.tables.published_tables import Key
from dbtssl.errors import DataError
from dbtssl.interfaces import Expected

COLLECTION = "Breast-Cancer-Screening-DBT"
STUDY = "1.2.840.1"


def series(view):
    return f"{STUDY}.{['lcc', 'rcc', 'lmlo', 'rmlo'].index(view)}"


@pytest.fixture
def study(tmp_path, dicom_writer, make_breast):
    """``study(listed, there)``: a study's tables, and files with headers as BCS-DBT has them: always L."""
    root = tmp_path / "bcs"

    def make(listed=("lcc",), there=("lcc",), **change):
        labels = ["PatientID,StudyUID,View,Normal,Actionable,Benign,Cancer"]
        paths = ["PatientID,StudyUID,View,descriptive_path,classic_path"]
        for view in listed:
            labels.append(f"DBT-P00001,DBT-S00001,{view},1,0,0,0")
            place = f"{COLLECTION}/DBT-P00001/{STUDY}/{series(view)}/1-1.dcm"
            paths.append(f"DBT-P00001,DBT-S00001,{view},,{place}")
        root.mkdir(parents=True)
        (root / "BCS-DBT-labels-train-v2.csv").write_text("\n".join(labels) + "\n")
        (root / "BCS-DBT-file-paths-train-v2.csv").write_text("\n".join(paths) + "\n")
        (root / "BCS-DBT-boxes-train-v2.csv").write_text(
            "PatientID,StudyUID,View,Subject,Slice,X,Y,Width,Height,Class,AD,VolumeSlices\n"
        )
        for view in there:
            anatomy, shared, lut = Dataset(), Dataset(), Dataset()
            anatomy.FrameLaterality = change.pop("FrameLaterality", "L")
            lut.WindowCenter = lut.WindowWidth = 512
            shared.FrameAnatomySequence, shared.FrameVOILUTSequence = [anatomy], [lut]
            fields = {
                "PatientID": "DBT-P00001",
                "StudyID": "DBT-S00001",
                "StudyInstanceUID": STUDY,
                "SeriesInstanceUID": series(view),
                "ViewPosition": view[1:].upper(),
                "SharedFunctionalGroupsSequence": [shared],
            } | change
            frames, _ = make_breast(view[0], n=3)
            path = root / COLLECTION / "DBT-P00001" / STUDY / series(view) / "1-1.dcm"
            dicom_writer(path, frames, **fields)
        return root

    return make


def check(root):
    result = CliRunner().invoke(main, ["data", "check", str(root), "--json"])
    return result.exit_code, json.loads(result.output)


def run(root, out, max_bad=0):
    raws = BcsDbt().volumes(root)
    prepare(
        BcsDbt(), raws, out, PrepareConfig(), name="bcs-dbt", phantom=False, jobs=1, max_bad=max_bad
    )
    return PreparedDataset.open(out)


def test_right_files_are_read_whatever_their_frame_laterality(study, tmp_path):
    root = study(("lcc", "rcc", "rmlo"), ("lcc", "rcc", "rmlo"))
    code, told = check(root)
    assert (code, told["counts"]["found"]) == (0, 3)
    assert {v.view for v in run(root, tmp_path / "out").cohort} == {"lcc", "rcc", "rmlo"}


def test_the_other_breast_is_not_taken_for_the_one_that_is_missing(study):
    """The listed CC file is missing; the other side's CC lies in the folder of its own, unlisted UID."""
    root = study(("lcc", "lmlo"), ("rcc", "lmlo"))
    code, told = check(root)
    assert (code, told["counts"]["found"], told["counts"]["missing"]) == (1, 1, 1)
    (note,) = (v["note"] for v in told["volumes"] if v["view"] == "lcc")
    both = f"SeriesInstanceUID {series('rcc')} in the header, {series('lcc')} in the table"
    assert both in note
    assert "1-1.dcm is not it" in note
    assert len(told["extra"]) == 1
    with pytest.raises(DataError, match=r"1 of 2 listed volumes have no file: .*/lcc") as error:
        BcsDbt().volumes(root)
    assert both in error.value.message
    assert [raw.volume.view for raw in BcsDbt(BcsDbt.Config(partial=True)).volumes(root)] == [
        "lmlo"
    ]


def test_two_files_that_were_exchanged_are_refused(study, tmp_path):
    root = study(("lcc", "rcc", "lmlo"), ("lcc", "rcc", "lmlo"))
    one, other = (next(root.rglob(f"{series(view)}/1-1.dcm")) for view in ("lcc", "rcc"))
    one.rename(tmp_path / "spare")
    other.rename(one)
    (tmp_path / "spare").rename(other)
    code, told = check(root)
    assert (code, told["counts"]["found"], told["counts"]["contradicted"]) == (1, 1, 2)
    for volume in told["volumes"]:
        if volume["view"] == "lcc":
            assert volume["files"] == [str(one)]
            assert f"{series('rcc')} in the header, {series('lcc')} in the table" in volume["note"]
    with pytest.raises(DataError, match="2 of 3 volumes cannot be prepared") as error:
        run(root, tmp_path / "out")
    assert f"{series('rcc')} in the header, {series('lcc')} in the table" in error.value.message
    assert str(one) in error.value.message
    assert [v.view for v in run(root, tmp_path / "out", max_bad=2).cohort] == ["lmlo"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"SeriesInstanceUID": "1.2.3.4"}, f"SeriesInstanceUID 1.2.3.4 in the header, {series('lcc')} in"),
        ({"StudyInstanceUID": "1.2.3.4"}, f"StudyInstanceUID 1.2.3.4 in the header, {STUDY} in"),
        ({"PatientID": "DBT-P00002"}, "PatientID DBT-P00002 in the header, DBT-P00001 in"),
        ({"StudyID": "DBT-S00002"}, "StudyID DBT-S00002 in the header, DBT-S00001 in"),
        ({"ViewPosition": "MLO"}, "ViewPosition MLO in the header, lcc in"),
        ({"FrameLaterality": "R"}, "laterality R in the header, lcc in"),
        ({"ImageLaterality": "R"}, "laterality R in the header, lcc in"),
    ],
)  # fmt: skip
def test_each_value_that_contradicts_is_shown_beside_the_tables(study, tmp_path, change, told):
    root = study(**change)
    code, found = check(root)
    assert (code, found["counts"]["contradicted"]) == (1, 1)
    assert told in found["volumes"][0]["note"]
    assert found["volumes"][0]["hint"]
    with pytest.raises(DataError) as error:
        run(root, tmp_path / "out")
    assert told in error.value.message
    assert "1-1.dcm" in error.value.message


def test_a_file_that_only_its_header_tells_may_not_contradict_either(study, tmp_path):
    root = study(PatientID="DBT-P00002")
    next(root.rglob("1-1.dcm")).rename(root / "1.dcm")
    with pytest.raises(DataError, match=r"have a file whose header contradicts .*DBT-P00002"):
        BcsDbt(BcsDbt.Config(partial=True)).volumes(root)


@pytest.mark.parametrize(
    "ids",
    [
        Ids("", "", "", ""),
        Ids("1.2.3", "DBT-P00001", "DBT-S00001", "cc", "1.2", ""),
        Ids(
            "none", "SECRET-NAME", "4711", "", "unknown", ""
        ),  # replaced in the table, or never set
    ],
)
def test_what_is_not_known_contradicts_nothing(ids):
    expected = Expected("DBT-P00001", "DBT-S00001", "rcc", "1.2.3", "1.2", public=True)
    assert contradictions(ids, expected) == []


def test_ids_of_private_sources_are_not_shown():
    ids = Ids("1.2.3", "CASE-2", "S1", "mlo", "", "r")
    told = contradictions(ids, Expected("CASE-1", "S1", "lcc", "1.2.4"))
    assert told == [
        *("SeriesInstanceUID of another", "PatientID of another"),
        *("laterality R in the header, lcc in the table", "ViewPosition MLO in the header, lcc in the table"),
    ]  # fmt: skip


def test_what_an_earlier_version_prepared_is_checked_and_not_decoded_again(study, tmp_path):
    root, out = study(("lcc", "rcc"), ("lcc", "rcc")), tmp_path / "out"
    digest = run(root, out).digest
    records = sorted((out / "records").glob("*.json"))
    for path in records:
        path.write_text(path.read_text().replace('"checked":1', '"checked":0'))
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.b2nd")}
    assert run(root, out).digest == digest
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.b2nd")} == before
    for path in records:
        assert '"checked":1' in path.read_text()
        path.write_text(path.read_text().replace('"checked":1', '"checked":0'))
    one = next(root.rglob(f"{series('lcc')}/1-1.dcm"))
    times = one.stat()
    ds = pydicom.dcmread(one)
    ds.PatientID = "DBT-P00002"  # of the same length
    ds.save_as(one)

    os.utime(one, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert one.stat().st_size == times.st_size
    with pytest.raises(DataError, match="PatientID DBT-P00002 in the header"):
        run(root, out)


@pytest.fixture
def slices(tmp_path, dicom_writer, make_breast):
    """Two volumes of two DICOM slices: left and right CC."""
    rows = [["file", "patient", "study", "side", "projection", "slice", "label"]]
    for side in "lr":
        for z in range(2):
            name = f"{side}{z}.dcm"
            dicom_writer(
                tmp_path / name, make_breast(side, n=1)[0], window="top", PatientID="CASE-1",
                ViewPosition="CC", ImageLaterality=side.upper(), SeriesInstanceUID=f"1.2.{'lr'.index(side)}",
            )  # fmt: skip
            rows.append([name, "CASE-1", "S1", side, "cc", z, "normal"])

    def write():
        with (tmp_path / "slices.csv").open("w", newline="") as lines:
            csv.writer(lines).writerows(rows)
        return [list(raw.reader.frames()) for raw in SliceFolder().volumes(tmp_path)]

    return rows, write


def test_slices_of_the_other_side_are_refused(slices):
    rows, write = slices
    assert [len(frames) for frames in write()] == [2, 2]
    rows[2][0], rows[4][0] = rows[4][0], rows[2][0]
    with pytest.raises(DataError, match=r"r1\.dcm.*laterality R in the header, lcc in the table"):
        write()


def test_slices_of_another_series_are_refused(slices, tmp_path):
    rows, write = slices
    for path in tmp_path.glob("*.dcm"):
        ds = pydicom.dcmread(path)
        del ds.ImageLaterality
        ds.save_as(path)
    rows[2][0], rows[4][0] = rows[4][0], rows[2][0]
    with pytest.raises(DataError, match=r"r1\.dcm: its SeriesInstanceUID is not that of the first"):
        write()


def test_a_slice_of_another_patient_is_refused(slices):
    rows, write = slices
    for row in rows[1:]:
        row[1] = "CASE-2"
    with pytest.raises(DataError, match="PatientID of another") as error:
        write()
    assert "CASE" not in error.value.message


@pytest.mark.parametrize(
    ("classic", "why"),
    [("", "the table has no path for it"), ("1-1.dcm", r"classic_path '1-1\.dcm' names no series")],
)
def test_an_unusable_classic_path_is_the_cause_that_is_named(
    tmp_path, dicom_writer, make_breast, classic, why
):
    for name in "ab":
        dicom_writer(
            tmp_path / f"{name}.dcm", make_breast()[0], PatientID="P1", StudyID="S1",
            SeriesInstanceUID=f"1.2.{ord(name)}", ViewPosition="CC",
        )  # fmt: skip
    listed = {Key("P1", "S1", side + "cc"): classic for side in "lr"}
    for place in locate(listed, [tmp_path]).places.values():
        assert place.state == "ambiguous"
        assert re.search(why, place.note)
        assert "classic_path" in place.hint
        assert "keep one" not in place.hint


def test_a_series_that_the_table_gives_twice_is_the_tables_fault(tmp_path):
    file = tmp_path / "1.2.3.4.5" / "1-1.dcm"
    file.parent.mkdir()
    file.write_bytes(b"x")
    listed = {Key("P1", "S1", view): "P1/1.1/1.2.3.4.5/1-1.dcm" for view in ("lcc", "lmlo")}
    for place in locate(listed, [tmp_path]).places.values():
        assert "the table gives both the same series" in place.note
        assert "keep one" not in place.hint


def test_a_classic_path_with_backslashes_is_one(study):
    root = study(("lcc", "rcc"), ("lcc", "rcc"))
    table = root / "BCS-DBT-file-paths-train-v2.csv"
    table.write_text(table.read_text().replace("/", "\\"))
    located = locate(listed_paths([root]), [root])
    assert len(located.keys("found")) == 2


def test_folders_that_cannot_be_read_are_the_cause_of_missing_volumes(study, monkeypatch):

    root = study()
    scandir = os.scandir

    def refuse(folder):
        if str(folder).endswith(STUDY):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    for source in (BcsDbt(), BcsDbt(BcsDbt.Config(partial=True))):
        with pytest.raises(DataError, match=r"cannot be read, .*Permission denied") as error:
            source.volumes(root)
        assert "download" not in error.value.hint
