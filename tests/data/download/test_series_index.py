"""Whose volumes to take, on a small index made here and on the one that idc-index-data ships."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dbtssl.data.download import series_index as download_index
from dbtssl.data.download.download import total
from dbtssl.data.download.series_index import (
    COLLECTION_ID,
    Index,
    patients_in,
    patients_of_split,
    read_index,
    select,
    shipped_index,
)
from dbtssl.data.preparation.disk_space import gigabytes
from dbtssl.data.splits.split_lists import read_lists
from dbtssl.errors import DataError


@pytest.fixture
def index_file(tmp_path):
    """Three patients of BCS-DBT with 4, 2 and 1 volumes, out of order, and a series of another collection."""
    rows = [("DBT-P00002", "2", f"2.{i}", 1.5) for i in range(2)]
    rows += [("DBT-P00010", "10", "10.0", 70.000001)]
    rows += [("DBT-P00001", str(1 + i // 2), f"1.{i}", 40.0) for i in range(4)]
    columns = ["PatientID", "StudyInstanceUID", "SeriesInstanceUID", "series_size_MB"]
    table = [
        dict(zip(columns, row, strict=True), collection_id=COLLECTION_ID, Modality="MG")
        for row in rows
    ]
    table.append(table[0] | {"collection_id": "ea1141", "PatientID": "EA-1"})
    for row in table:
        row |= {"license_short_name": "CC BY-NC 4.0", "StudyDate": "2000-01-01"}
    path = tmp_path / "index.parquet"
    pq.write_table(pa.Table.from_pylist(table), path)
    return path


def ids(series):
    return [one.uid for one in series]


def test_reads_its_collection_sorted_with_sizes_in_bytes(index_file):
    series = read_index(index_file)
    assert ids(series) == ["1.0", "1.1", "1.2", "1.3", "2.0", "2.1", "10.0"]
    assert series[-1] == ("DBT-P00010", "10", "10.0", "MG", 70_000_001, "CC BY-NC 4.0")


def test_selects_whole_patients(index_file):
    series = read_index(index_file)
    assert select(series) == series
    assert ids(select(series, [{"DBT-P00002", "DBT-P00010"}])) == ["2.0", "2.1", "10.0"]
    two, ten = {"DBT-P00001", "DBT-P00002"}, {"DBT-P00002", "DBT-P00010"}
    assert ids(select(series, [two, ten])) == ["2.0", "2.1"]


def test_a_limit_counts_patients_by_id(index_file):
    series = read_index(index_file)
    assert ids(select(series, limit=1)) == ["1.0", "1.1", "1.2", "1.3"]
    assert ids(select(series, [{"DBT-P00010", "DBT-P00002"}], limit=1)) == ["2.0", "2.1"]
    assert select(series, limit=99) == series


def test_refuses_strangers_and_nobody(index_file):
    series = read_index(index_file)
    with pytest.raises(DataError, match=r"^2 of 3 patients are not in the index: P1, P2\n"):
        select(series, [{"P2", "P1", "DBT-P00001"}])
    with pytest.raises(DataError, match=r"0, P1, P2, P3, P4, \.\.\.\n"):
        select(series, [{f"P{i}" for i in range(6)}])
    with pytest.raises(DataError, match="no patient is in all that was asked for"):
        select(series, [{"DBT-P00001"}, {"DBT-P00002"}])


def test_refuses_what_is_no_index(tmp_path, index_file):
    with pytest.raises(DataError, match="cannot be read as an index"):
        read_index(tmp_path / "none.parquet")
    text = tmp_path / "text.parquet"
    text.write_text("not Parquet")
    with pytest.raises(DataError, match="cannot be read as an index"):
        read_index(text)
    table = pq.read_table(index_file)
    pq.write_table(table.drop_columns(["Modality", "series_size_MB"]), text)
    with pytest.raises(DataError, match="missing columns Modality, series_size_MB"):
        read_index(text)
    pq.write_table(table.slice(table.num_rows - 1), text)
    with pytest.raises(DataError, match=f"no series of the collection {COLLECTION_ID}"):
        read_index(text)


def test_says_how_to_install_the_index(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(download_index.importlib, "import_module", absent)
    with pytest.raises(DataError, match=re.escape("pip install 'dbtssl[idc]'")):
        shipped_index()


LISTS = {
    "text": "# those with cancer\nDBT-P1\n\n DBT-P2  # twice\nDBT-P2\n",
    "windows": "\ufeffDBT-P1\r\nDBT-P2\r\n",
    "table": "PatientID,View\nDBT-P1,lcc\nDBT-P2,rcc\nDBT-P1,rcc\n",
    "index column": ',View,PatientID\n0,lcc,DBT-P1\n1,lcc,"DBT-P2"\n',
    "one column": "PatientID\nDBT-P1\nDBT-P2\n",
}


@pytest.mark.parametrize("text", LISTS.values(), ids=LISTS)
def test_reads_lists_of_patients(text, tmp_path):
    path = tmp_path / "list"
    path.write_text(text, encoding="utf-8", newline="")
    assert patients_in(path) == {"DBT-P1", "DBT-P2"}


BAD_LISTS = {
    b"": "lists no patient",
    b"# none\n\n": "lists no patient",
    b"PatientID\n": "lists no patient",
    b"patient,view\nDBT-P1,lcc\n": "without the column PatientID; found patient, view",
    b"\xff\xfe\x00": "cannot be read as a list of patients",
}


@pytest.mark.parametrize(("content", "message"), BAD_LISTS.items())
def test_refuses_lists_that_list_nobody(content, message, tmp_path):
    path = tmp_path / "list"
    with pytest.raises(DataError, match="no such file"):
        patients_in(path)
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        patients_in(path)


def test_a_split_is_whom_its_tables_list(tmp_path):
    (tmp_path / "old").mkdir()
    files = {
        "BCS-DBT-labels-test-PHASE-2.csv": "P1",
        "old/BCS-DBT file-paths-test-v2.csv": "P2",
        "BCS-DBT-labels-train-v2.csv": "P3",
        "BCS-DBT-boxes-test-v2-PHASE-2-Jan-2024.csv": "P4",
        "BCS-DBT_test_label_v2.csv": "P5",  # SIFT-DBT's test part is of the published training set
    }
    for name, patient in files.items():
        (tmp_path / name).write_text(f"PatientID,View\n{patient},lcc\n")
    assert patients_of_split(tmp_path, "test") == {"P1", "P2"}
    with pytest.raises(DataError, match=r"no published table of validation.*\n.*--tables"):
        patients_of_split(tmp_path, "validation")


@pytest.fixture(scope="module")
def shipped() -> Index:
    pytest.importorskip("idc_index_data", reason="the extra idc (idc-index-data) is not installed")
    return shipped_index()


def counts(series):
    patients, studies = ({getattr(s, name) for s in series} for name in ("patient", "study_uid"))
    return len(patients), len(studies), len(series)


def test_the_shipped_index_has_the_published_collection(shipped):
    assert re.fullmatch(r"\d+\.\d+\.\d+", shipped.version)
    assert counts(shipped.series) == (5060, 5610, 22032)
    assert len({one.uid for one in shipped.series}) == 22032
    assert round(sum(one.size for one in shipped.series) / 1e12, 3) == 1.638
    assert {(one.licence, one.modality) for one in shipped.series} == {("CC BY-NC 4.0", "MG")}


PUBLISHED = {
    "train": (4362, 4838, 19148),
    "validation": (280, 312, 1163),
    "test": (418, 460, 1721),
}
SIZES = {"train": "1,418.0 GB", "validation": "84.7 GB", "test": "135.1 GB"}  # as docs/data.md says


@pytest.mark.parametrize("split", PUBLISHED)
def test_the_published_splits_are_found_in_the_shipped_index(split, shipped, real):
    selected = select(shipped.series, [patients_of_split(real / "sift_dbt_lists" / "csv", split)])
    assert counts(selected) == PUBLISHED[split]
    assert gigabytes(total(selected)) == SIZES[split]


def test_the_other_sizes_of_the_page_on_data(shipped, real):
    table = real / "sift_dbt_lists" / "csv" / "BCS-DBT labels-train-v2.csv"
    rows = [line.split(",") for line in table.read_text().split()]
    with_cancer = select(shipped.series, [{row[0] for row in rows if row[6] == "1"}])
    assert (counts(with_cancer)[2], gigabytes(total(with_cancer))) == (76, "6.3 GB")
    first = select(shipped.series, limit=1)
    assert (len(first), gigabytes(total(first))) == (4, "229.3 MB")
    assert gigabytes(total(shipped.series)) == "1,637.8 GB"
    page = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    for size in (*SIZES.values(), "6.3 GB", "229.3 MB", "1,637.8 GB", "284.7 GB"):
        assert size in page


SIFT = {"train": (3052, 13319), "val": (436, 1910), "test": (874, 3919)}  # Actionable with them


@pytest.mark.parametrize("part", SIFT)
def test_the_parts_of_sift_dbt_are_found_in_the_shipped_index(part, shipped, real):
    rows = read_lists(real / "sift_dbt_lists" / "csv").listed.items()
    listed = {key.patient: [] for key, row in rows if row.part == part}
    for key, row in rows:
        if row.part == part and row.classic_path:
            listed[key.patient].append(row.classic_path.split("/")[-2])
    selected = select(shipped.series, [set(listed)])
    patients, _, volumes = counts(selected)
    assert (patients, volumes) == SIFT[part]
    if part == "test":
        assert gigabytes(total(selected)) == "284.7 GB"
    if part != "train":  # the published labels have no paths
        assert sorted(uid for uids in listed.values() for uid in uids) == sorted(ids(selected))
