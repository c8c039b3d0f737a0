"""What is fetched, what is not, and what is said when it does not arrive; the network is a function of the test."""

from __future__ import annotations

import shutil
import sys
from types import SimpleNamespace

import pytest
from filelock import FileLock

from dbtssl.data.download import download as module
from dbtssl.data.download.download import (
    BATCH,
    LOCK,
    SPARE,
    TEMPLATE,
    download,
    folder_of,
    free_space,
    idc_fetch,
    is_there,
    make_plan,
)
from dbtssl.data.download.series_index import Series
from dbtssl.data.preparation.disk_space import gigabytes
from dbtssl.data.sources.layouts import locate
from dbtssl.data.tables.published_tables import Key
from dbtssl.errors import DataError

SERIES = tuple(
    Series(f"DBT-P{i // 4:05}", f"1.{i // 4}", f"1.2.{i}", "MG", 140_000 + i, "CC BY-NC 4.0")
    for i in range(BATCH + 8)
)


class Network:
    """Writes what it is asked for, except the series ``lost``; ``cut`` of them arrive short."""

    def __init__(self, lost=(), cut=()):
        self.lost, self.cut, self.batches = set(lost), set(cut), []

    def __call__(self, batch, out):
        self.batches.append([one.uid for one in batch])
        for one in batch:
            if one.uid not in self.lost:
                put(one, out, one.size - (one.uid in self.cut))

    @property
    def asked(self):
        return [uid for batch in self.batches for uid in batch]


def put(one, out, size=None, name="a5c1.dcm"):
    folder = folder_of(one, out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"x" * (one.size if size is None else size))
    return folder / name


def test_fetches_all_in_batches_and_nothing_a_second_time(tmp_path, capsys):
    out, network = tmp_path / "new" / "out", Network()
    download(make_plan(SERIES, out), network)
    assert [len(batch) for batch in network.batches] == [BATCH, 8]
    assert network.asked == [one.uid for one in SERIES]
    plan = make_plan(SERIES, out)
    assert (plan.there, plan.missing) == (SERIES, ())
    download(plan, network)
    assert len(network.batches) == 2
    assert capsys.readouterr().err.startswith("download: 5/5 MB")  # 40 volumes of 5.6 MB in all


def test_goes_on_where_it_was_stopped(tmp_path):
    for one in SERIES[:3]:
        put(one, tmp_path)
    put(SERIES[3], tmp_path, size=50)  # of another tool, which writes to the final name
    left = put(SERIES[4], tmp_path, size=50, name="a5c1.dcm2193114470")  # of a killed s5cmd
    network = Network()
    download(make_plan(SERIES, tmp_path), network)
    assert network.asked == [one.uid for one in SERIES[3:]]
    assert not left.exists()
    assert make_plan(SERIES, tmp_path).missing == ()


def test_a_file_counts_by_its_size_and_its_folder(tmp_path):
    one = SERIES[0]
    assert not is_there(one, tmp_path)
    path = put(one, tmp_path, one.size - 1)
    assert path.parent.relative_to(tmp_path).as_posix() == (
        "breast_cancer_screening_dbt/DBT-P00000/1.0/MG_1.2.0"
    )
    assert not is_there(one, tmp_path)
    (path.parent / "moved.dcm").symlink_to(tmp_path / "nowhere")
    assert not is_there(one, tmp_path)
    put(one, tmp_path, name="other.dcm")
    assert is_there(one, tmp_path)
    assert not is_there(SERIES[1], tmp_path)


def test_what_did_not_arrive_is_an_error_at_the_end(tmp_path):
    network = Network(lost={"1.2.1"}, cut={"1.2.5", "1.2.33"})
    with pytest.raises(
        DataError,
        match=r"^3 of 40 volumes did not arrive .* series 1.2.1 of patient DBT-P00000 \(140,001 bytes\)\n.*again",
    ):
        download(make_plan(SERIES, tmp_path), network)
    assert len(network.batches) == 2
    again = Network()
    download(make_plan(SERIES, tmp_path), again)
    assert again.asked == ["1.2.1", "1.2.5", "1.2.33"]


def test_a_batch_that_brought_nothing_stops_at_once(tmp_path):
    network = Network(lost={one.uid for one in SERIES[:BATCH]})
    with pytest.raises(DataError, match=r"^40 of 40 volumes did not arrive"):
        download(make_plan(SERIES, tmp_path), network)
    assert len(network.batches) == 1


def disk(monkeypatch, free):
    usage = SimpleNamespace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    return usage


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    needed = sum(one.size for one in SERIES)
    disk(monkeypatch, needed + SPARE - 1)
    out, network = tmp_path / "out", Network()
    plan = make_plan(SERIES, out)
    assert (plan.needed, plan.fits) == (needed, False)
    with pytest.raises(DataError, match=r"to fetch, 1\.0 GB free.*\n.*--limit"):
        download(plan, network)
    assert network.batches == []
    assert not out.exists()
    disk(monkeypatch, needed + SPARE)
    assert make_plan(SERIES, out).fits


def test_what_is_there_needs_no_room(tmp_path, monkeypatch):
    put(SERIES[0], tmp_path)
    disk(monkeypatch, 0)
    plan = make_plan(SERIES[:1], tmp_path)
    assert plan.fits
    download(plan, Network())
    assert not make_plan(SERIES[:2], tmp_path).fits


def test_a_disk_that_fills_meanwhile_stops_before_the_next_batch(tmp_path, monkeypatch):
    plan, network = make_plan(SERIES, tmp_path), Network()
    usage = disk(monkeypatch, 10 * SPARE)

    def fill(batch, out):
        network(batch, out)
        usage.free = SPARE

    with pytest.raises(DataError, match=r"1\.1 MB to fetch, 1\.0 GB free"):
        download(plan, fill)
    assert len(network.batches) == 1
    assert len(make_plan(SERIES, tmp_path).there) == BATCH


def test_one_download_at_a_time_writes_into_a_folder(tmp_path):
    with (
        FileLock(tmp_path / LOCK),
        pytest.raises(DataError, match="another download writes into"),
    ):
        download(make_plan(SERIES, tmp_path), Network())


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    for out in (path, path / "below"):
        with pytest.raises(DataError, match="is not a folder"):
            make_plan(SERIES, out)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    plan = make_plan(SERIES, tmp_path / "out")
    (tmp_path / "out").write_text("")
    with pytest.raises(DataError, match="cannot write into"):
        download(plan, Network())


def test_the_free_space_is_that_of_the_disk_of_a_folder_to_be(tmp_path):
    assert 0 < free_space(tmp_path / "a" / "b") <= shutil.disk_usage(tmp_path).total


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (1_637_812_393_364, "1,637.8 GB"),
        (10**9, "1.0 GB"),
        (999_000_000, "999.0 MB"),
        (0, "0.0 MB"),
    ],
)
def test_sizes_are_in_units_of_ten(size, text):
    assert gigabytes(size) == text


def test_says_how_to_install_idc_index(monkeypatch):
    for name in ("idc_index", "idc_index.index"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DataError, match=r"idc-index is not installed\n.*dbtssl\[idc\]"):
        idc_fetch(SERIES)


def test_idc_index_that_cannot_start_is_no_bug_of_ours(monkeypatch):
    def broken():
        raise FileNotFoundError("s5cmd executable not found")

    fake = SimpleNamespace(IDCClient=broken)
    monkeypatch.setitem(sys.modules, "idc_index", SimpleNamespace(index=fake))
    monkeypatch.setitem(sys.modules, "idc_index.index", fake)
    with pytest.raises(DataError, match="idc-index cannot start: s5cmd executable not found"):
        idc_fetch(SERIES)


def test_what_was_fetched_is_found_by_the_reader_of_layouts(tmp_path):
    download(make_plan(SERIES, tmp_path), Network())
    put(SERIES[0], tmp_path, size=9, name="a5c1.dcm2193114470")  # is no volume
    listed = {
        Key(s.patient, "S", s.uid): f"x/{s.patient}/{s.study_uid}/{s.uid}/1-1.dcm" for s in SERIES
    }
    located = locate(listed, [tmp_path])
    assert len(located.keys("found")) == len(SERIES)
    assert {place.layout for place in located.places.values()} == {"idc-index"}
    assert located.extra == ()


def test_the_template_names_the_folder_that_is_looked_into(tmp_path):
    one = SERIES[5]
    names = {
        "%collection_id": module.COLLECTION_ID,
        "%PatientID": one.patient,
        "%StudyInstanceUID": one.study_uid,
        "%Modality": one.modality,
        "%SeriesInstanceUID": one.uid,
    }
    path = TEMPLATE
    for name, value in names.items():
        path = path.replace(name, value)
    assert tmp_path / path == folder_of(one, tmp_path)
