from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import pytest

from dbtssl.data.dicom.dicom_files import dicom_files, read_ids
from dbtssl.data.preparation.prepare import PrepareConfig, prepare
from dbtssl.data.prepared.prepared_dataset import PreparedDataset
from dbtssl.data.sources.bcs_dbt import BcsDbt
from dbtssl.data.sources.layouts import listed_paths, locate
from dbtssl.data.tables.csv_rows import COLLECTION
from dbtssl.data.tables.published_tables import Key
from dbtssl.errors import DataError


class Tree:
    """The real small tree, to be laid out again: tables copied, files linked, so that the media stay as they are."""

    def __init__(self, source: Path, root: Path) -> None:
        self.source, self.root = source, root
        root.mkdir()
        for table in source.glob("*.csv"):
            shutil.copyfile(table, root / table.name)
        with (source / "BCS-DBT-file-paths-train-v2.csv").open(newline="") as lines:
            self.rows = list(csv.DictReader(lines))

    def lay(self, place, rows=None, copy=False):
        """Put the file of each row to ``root / place(number, row, uids)``; ``uids`` are of study and series."""
        for number, row in enumerate(self.rows if rows is None else rows):
            classic = row["classic_path"]
            to = self.root / place(number, row, classic.split("/")[-3:-1])
            to.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copyfile if copy else os.symlink)(self.source / classic, to)
        return self.root


@pytest.fixture
def mini(real, tmp_path):
    return Tree(real / "mini_tree", tmp_path / "tree")


def na(path):
    """The path as NBIA's retriever writes it; the published column lacks the NA."""
    *folders, series, name = path.split("/")
    return "/".join([*folders, series.replace(".000000-", ".000000-NA-"), name])


# the forms of section 1.5 of the facts on BCS-DBT
FORMS = {
    "classic": lambda n, row, uids: "manifest-1617905855234/" + row["classic_path"],
    "descriptive": lambda n, row, uids: "manifest-16/" + na(row["descriptive_path"]),
    "descriptive without NA": lambda n, row, uids: row["descriptive_path"],
    "rest": lambda n, row, uids: f"{uids[1]}/{'1-1' if n % 2 else '000000'}.dcm",
    "idc-index": lambda n, row, uids: (
        f"breast_cancer_screening_dbt/{row['PatientID']}/{uids[0]}/MG_{uids[1]}/7f3a-{n}.dcm"
    ),
    "flat": lambda n, row, uids: f"{uids[1]}{'.dcm' if n % 2 else ''}",
    "header": lambda n, row, uids: f"{n:08d}-9c5b.dcm",
}


@pytest.fixture(params=FORMS)
def laid(request, mini):
    return mini.lay(FORMS[request.param]), request.param


def test_every_layout_is_found_whole(laid, real):
    """Each listed volume gets the very file that its classic path names in the published layout."""
    root, layout = laid
    located = locate(listed_paths([root]), [root])
    assert {place.layout for place in located.places.values()} == {layout}
    assert len(located.keys("found")) == 14
    assert (located.extra, located.problems) == ((), ())
    classic = {raw.volume.id: raw.path for raw in BcsDbt().volumes(real / "mini_tree")}
    found = {raw.volume.id: raw.path.resolve() for raw in BcsDbt().volumes(root)}
    assert found == {name: path.resolve() for name, path in classic.items()}


def test_rotated_volumes_are_turned_back_from_any_layout(mini, tmp_path):
    root = mini.lay(FORMS["header"])
    prepare(
        BcsDbt(),
        BcsDbt().volumes(root),
        tmp_path / "out",
        PrepareConfig(),
        name="bcs-dbt",
        phantom=False,
        jobs=1,
    )
    stored = PreparedDataset.open(tmp_path / "out").stored
    assert {s.volume.id for s in stored if s.rotated} == {
        *("DBT-P00024_DBT-S03255_lcc", "DBT-P00107_DBT-S05365_lcc")
    }


def test_layouts_may_be_mixed_over_several_roots(mini, tmp_path):
    mini.lay(FORMS["idc-index"], mini.rows[:5])
    other, mini.root = mini.root, tmp_path / "disk2"
    mini.lay(FORMS["descriptive"], mini.rows[5:])
    raws = BcsDbt(BcsDbt.Config(roots=(mini.root,))).volumes(other)
    assert len({raw.path for raw in raws}) == 14
    (tmp_path / "tables").mkdir()
    for table in other.glob("*.csv"):  # the tables may lie apart from every image
        table.rename(tmp_path / "tables" / table.name)
    assert BcsDbt(BcsDbt.Config(roots=(other, mini.root))).volumes(tmp_path / "tables") == raws


def test_links_that_loop_are_followed_once(mini):
    root = mini.lay(FORMS["classic"])
    (root / "again").symlink_to(root)
    (root / "aaa").symlink_to(root / "manifest-1617905855234" / COLLECTION / "DBT-P00013")
    (root / "self").symlink_to(root / "self")
    (root / "gone").symlink_to(root / "nowhere.dcm")
    located = locate(listed_paths([root]), [root])
    assert len(located.keys("found")) == 14
    assert located.extra == ()
    assert [problem.partition(":")[0] for problem in located.problems] == [str(root / "self")]
    assert all("aaa" not in str(place.files) for place in located.places.values())


def test_a_linked_folder_outside_is_followed(mini, tmp_path):
    mini.root = tmp_path / "elsewhere"
    mini.lay(FORMS["classic"])
    (tmp_path / "tree" / "images").symlink_to(mini.root)
    assert len(BcsDbt().volumes(tmp_path / "tree")) == 14


def test_nothing_is_written_and_folders_without_rights_are_told(mini):
    root = mini.lay(FORMS["classic"])
    folders = [folder for folder in (root, *root.rglob("*")) if folder.is_dir()]
    before = sorted(root.rglob("*"))
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert len(BcsDbt().volumes(root)) == 14
        assert sorted(root.rglob("*")) == before
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_a_folder_that_cannot_be_read_is_told(mini, monkeypatch):
    root = mini.lay(FORMS["rest"])
    closed = root / mini.rows[0]["classic_path"].split("/")[-2]
    scandir = os.scandir

    def refuse(folder):
        if Path(folder) == closed:
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    located = locate(listed_paths([root]), [root])
    assert located.problems == (f"{closed}: Permission denied",)
    assert len(located.keys("missing")) == 1


def test_equal_copies_are_one_volume_and_others_are_ambiguous(mini):
    mini.lay(FORMS["classic"])
    key = Key(*(mini.rows[0][name] for name in ("PatientID", "StudyUID", "View")))
    root = mini.lay(FORMS["rest"], mini.rows[:1], copy=True)
    place = locate(listed_paths([root]), [root]).places[key]
    assert (place.state, place.layout) == ("found", "rest")
    assert place.note == "2 copies of equal size"
    copy = root / FORMS["rest"](0, mini.rows[0], mini.rows[0]["classic_path"].split("/")[-3:-1])
    size = copy.stat().st_size
    os.truncate(copy, size // 2)  # a download that was cut off
    place = locate(listed_paths([root]), [root]).places[key]
    assert place.state == "ambiguous"
    assert len(place.files) == 2
    assert f"{size:,}" in place.note
    assert f"{size // 2:,}" in place.note
    with pytest.raises(
        DataError, match=r"1 of 14 listed volumes are ambiguous: DBT-P00013/.*bytes"
    ):
        BcsDbt().volumes(root)


def test_an_empty_file_is_no_volume(mini):
    root = mini.lay(FORMS["rest"], copy=True)
    empty = next(root.glob("1.2*/*.dcm"))
    empty.write_bytes(b"")
    located = locate(listed_paths([root]), [root])
    (key,) = located.keys("missing")
    assert located.places[key].note == f"empty file {empty}"


def test_other_files_are_extra(mini, dicom_writer, make_breast):
    root = mini.lay(FORMS["header"])
    foreign = dicom_writer(root / "other.dcm", make_breast()[0])
    broken = root / "broken.dcm"
    broken.write_bytes(b"no dicom")
    (root / "._00000001.dcm").write_bytes(b"a resource fork of macOS")
    (root / "notes.txt").write_text("")
    located = locate(listed_paths([root]), [root])
    assert len(located.keys("found")) == 14
    assert sorted(located.extra) == [broken, foreign]


def test_headers_are_read_only_while_volumes_are_missing(mini, monkeypatch):
    root = mini.lay(FORMS["rest"])
    (root / "other.dcm").write_bytes(b"x")
    monkeypatch.setattr(
        "dbtssl.data.sources.layouts.read_ids", lambda path: pytest.fail(f"opened {path}")
    )
    assert locate(listed_paths([root]), [root]).extra == (root / "other.dcm",)


def header_tree(root, dicom_writer, make_breast, views):
    """Files that only their headers tell, with series UIDs that no table knows."""
    for i, (patient, study, view) in enumerate(views):
        dicom_writer(
            root / f"{i}.dcm",
            make_breast()[0][: i + 1],
            PatientID=patient,
            StudyID=study,
            SeriesInstanceUID=f"1.9.9.9.{i}",
            ViewPosition=view,
        )
    return root


def test_a_single_view_of_its_kind_is_found_by_patient_study_and_view(
    tmp_path, dicom_writer, make_breast
):
    root = header_tree(
        tmp_path,
        dicom_writer,
        make_breast,
        [("P1", "S1", "CC"), ("P1", "S1", "MLO"), ("P1", "S2", "CC")],
    )
    listed = {
        Key("P1", "S1", "lcc"): "",
        Key("P1", "S1", "lmlo1"): "",
        Key("P1", "S2", "rcc"): "a/b/c",
    }
    located = locate(listed, [root])
    assert [located.places[key].files for key in listed] == [(root / f"{i}.dcm",) for i in range(3)]


def test_two_sides_cannot_be_told_apart_by_the_header(tmp_path, dicom_writer, make_breast):
    """The laterality of a header is useless (facts, section 0), so neither file is taken."""
    root = header_tree(
        tmp_path,
        dicom_writer,
        make_breast,
        [("P1", "S1", "CC"), ("P1", "S1", "CC"), ("P2", "S1", "CC")],
    )
    listed = {Key("P1", "S1", side + "cc"): "" for side in "lr"} | {Key("P3", "S1", "lcc"): ""}
    located = locate(listed, [root])
    assert {key.patient: located.places[key].state for key in listed} == {
        "P1": "ambiguous",
        "P3": "missing",
    }
    assert located.extra == (root / "2.dcm",)


def test_what_is_left_over_is_not_taken_for_the_other_side(tmp_path, dicom_writer, make_breast):
    """One CC view is found by its UID; a stray CC file of the study may be a second copy of it."""
    header_tree(tmp_path, dicom_writer, make_breast, [("P1", "S1", "CC")])
    file = dicom_writer(tmp_path / "1.2.3.4.5" / "1-1.dcm", make_breast()[0])
    listed = {Key("P1", "S1", "lcc"): "P1/1.1/1.2.3.4.5/1-1.dcm", Key("P1", "S1", "rcc"): ""}
    left, right = locate(listed, [tmp_path]).places.values()
    assert (left.state, left.files) == ("found", (file,))
    assert (right.state, right.files) == ("ambiguous", (tmp_path / "0.dcm",))
    listed = {Key("P1", "S1", "lcc"): "P1/1.1/1.2.3.4.5/1-1.dcm", Key("P2", "S1", "rcc"): ""}
    located = locate(listed, [tmp_path])
    left, right = located.places.values()
    assert (left.state, right.state) == ("found", "missing")
    assert located.extra == (tmp_path / "0.dcm",)


def test_another_patients_folder_is_never_taken(tmp_path):
    """Series folders of one name in two patients, one of them gone."""
    file = tmp_path / "P2" / "1.2.S1" / "1.3.lcc" / "1-1.dcm"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    listed = {Key(p, "S1", "lcc"): f"{COLLECTION}/{p}/1.2.S1/1.3.lcc/1-1.dcm" for p in ("P1", "P2")}
    located = locate(listed, [tmp_path])
    assert located.places[Key("P1", "S1", "lcc")].state == "missing"
    assert located.places[Key("P2", "S1", "lcc")].files == (file,)


def test_a_tail_counts_within_its_patient_and_study_only(tmp_path):
    def listed(study, uid):
        return f"{COLLECTION}/P1/1.2.{study}/{uid}/1-1.dcm"

    tables = {
        Key("P1", "S1", "lcc"): listed("S1", "1.2.3.4.11112345"),
        Key("P1", "S2", "lcc"): listed("S2", "1.2.3.4.22212345"),
        Key("P2", "S3", "lcc"): f"{COLLECTION}/P2/1.2.S3/1.2.3.4.33354321/1-1.dcm",
    }
    files = [
        tmp_path / "P1" / "01-01-2000-S1-MAMMO-00001" / "7.000000-NA-12345" / "1-1.dcm",
        tmp_path / "P1" / "01-01-2000-S2-MAMMO-00002" / "7.000000-NA-12345" / "1-1.dcm",
        tmp_path / "P1" / "01-01-2000-S1-MAMMO-00001" / "8.000000-NA-54321" / "1-1.dcm",
    ]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x")
    located = locate(tables, [tmp_path])
    assert [place.files for place in located.places.values()] == [(files[0],), (files[1],), ()]
    assert located.extra == (files[2],)


def test_a_uid_that_is_listed_twice_is_ambiguous(tmp_path):
    file = tmp_path / "1.2.3.4.5" / "1-1.dcm"
    file.parent.mkdir()
    file.write_bytes(b"x")
    listed = {
        Key("P1", "S1", view): f"{COLLECTION}/P1/1.1/1.2.3.4.5/1-1.dcm" for view in ("lcc", "lmlo")
    }
    located = locate(listed, [tmp_path])
    assert located.keys("ambiguous") == sorted(listed)


@pytest.mark.parametrize("cut", [0, 1, 127, 132, 300])
def test_a_header_that_is_cut_off_tells_nothing(real, tmp_path, cut):
    whole = (real / "real_header_noise_pixels.dcm").read_bytes()
    path = tmp_path / "a.dcm"
    path.write_bytes(whole[:cut])
    ids = read_ids(path)
    assert ids is None or ids.series == ""


def test_a_real_header_tells_whose_it_is(real):
    ids = read_ids(real / "real_header_noise_pixels.dcm")
    assert ids is not None
    assert (ids.patient, ids.projection) == ("DBT-P00853", "cc")
    assert ids.study.startswith("DBT-S")
    assert ids.series.startswith("1.2.826.0.1.3680043.8.498.")


def test_tails_are_unique_within_each_published_patient(real):
    """What the second way of finding a volume rests on, on all 8,852 published paths that are at hand."""
    lists = real / "sift_dbt_lists" / "csv"
    tables = [
        *lists.glob("*_label_v2.csv"),
        *lists.glob("*file-paths*.csv"),
        *real.glob("*PARTIAL.csv"),
    ]
    uids = set()
    for table in tables:
        with table.open(newline="") as lines:
            uids |= {
                (r["PatientID"], r["classic_path"].split("/")[-2]) for r in csv.DictReader(lines)
            }
    assert len(uids) == 8_852
    assert len({(patient, uid[-5:]) for patient, uid in uids}) == 8_852


def test_files_are_listed_once_and_in_order(tmp_path):
    for name in ("b/2.dcm", "b/10.DCM", "a/1.dcm", "MG_1.2.3.4.5", "1.2.3.4.5.6", "readme", "1.2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"xy")
    (tmp_path / "a" / "0.dcm").symlink_to(tmp_path / "a" / "1.dcm")
    (tmp_path / "0.dcm").symlink_to(tmp_path / "b" / "2.dcm")
    files, problems = dicom_files([tmp_path, tmp_path / "a"])
    assert [str(f.path.relative_to(tmp_path)) for f in files] == [
        *("1.2.3.4.5.6", "MG_1.2.3.4.5", "a/1.dcm", "b/10.DCM", "b/2.dcm")
    ]
    assert {f.size for f in files} == {2}
    assert problems == []
