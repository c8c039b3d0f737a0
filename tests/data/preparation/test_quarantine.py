"""Volumes that cannot be prepared: told in a table, counted, and never dropped in silence."""

from __future__ import annotations

import csv
import json
import re

import pytest

from dbtssl.data.preparation import preparation_state as finished
from dbtssl.data.preparation.preparation_state import (
    Bad,
    check_bad,
    count_rows,
    read_quarantine,
    write_quarantine,
)
from dbtssl.data.preparation.prepare import PrepareConfig, prepare
from dbtssl.data.prepared.prepared_dataset import PreparedDataset, tissue_path, volume_path
from dbtssl.data.sources.bcs_dbt import BcsDbt
from dbtssl.errors import DataError

BROKEN = "P4_S1_lcc"


class Clinic(BcsDbt):
    """The same files from a source whose ids name people."""

    public = False


def run(tree, out, jobs=1, max_bad=0, source=None, name="bcs-dbt"):
    prepare(
        source or BcsDbt(),
        BcsDbt().volumes(tree.root),
        out,
        PrepareConfig(),
        name=name,
        phantom=False,
        jobs=jobs,
        max_bad=max_bad,
    )
    return PreparedDataset.open(out)


def counts(out):
    return json.loads((out / "dataset.json").read_text())["counts"]


def table(out):
    with (out / "quarantine.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def broken(small_tree):
    """One volume of six is cut in half."""
    path = next(r.path for r in BcsDbt().volumes(small_tree.root) if r.volume.id == BROKEN)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path, whole


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_bad_volume_is_named_and_all_others_are_kept(small_tree, tmp_path, jobs, broken):
    out = tmp_path / "out"
    with pytest.raises(
        DataError, match=r"1 of 6 volumes .*--max-bad is 0.*quarantine.csv"
    ) as error:
        run(small_tree, out, jobs)
    assert f"volume {BROKEN} ({broken[0]}): " in error.value.message
    assert "download it again; or leave such volumes out with --max-bad 1" in error.value.hint
    (row,) = table(out)
    assert row["volume"] == BROKEN
    assert re.fullmatch(r"its file: \d+ bytes of pixels, the header says 216000", row["reason"])
    assert not (out / "dataset.json").exists()
    assert not list((out / "volumes").glob("P4*"))
    assert len(list((out / "records").glob("*.json"))) == 5


def test_so_many_may_be_left_out(small_tree, tmp_path, broken):
    out = tmp_path / "out"
    dataset = run(small_tree, out, max_bad=1)
    assert [v.id for v in dataset.cohort].count(BROKEN) == 0
    assert len(dataset.cohort) == 5
    assert counts(out)["quarantined"] == 1
    assert count_rows(out / "quarantine.csv") == 1
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.b2nd")}
    assert run(small_tree, out, max_bad=1).digest == dataset.digest
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.b2nd")} == before
    with pytest.raises(DataError, match="--max-bad is 0"):
        run(small_tree, out)


def test_an_accepted_volume_is_tried_again_when_its_file_changes(small_tree, tmp_path, broken):
    out = tmp_path / "out"
    first = run(small_tree, out, max_bad=1).digest
    path, whole = broken
    path.write_bytes(whole)
    whole_set = run(small_tree, out)
    assert len(whole_set.cohort) == 6
    assert whole_set.digest != first
    assert "quarantined" not in counts(out)
    assert not (out / "quarantine.csv").exists()


def test_an_unfinished_run_tries_again(small_tree, tmp_path, broken, monkeypatch):
    """A disk that failed once leaves size and time of the file as they were."""
    out = tmp_path / "out"
    path, whole = broken
    times = path.stat()
    with pytest.raises(DataError, match="cannot be prepared"):
        run(small_tree, out)
    key = table(out)[0]["key"]
    path.write_bytes(whole)
    monkeypatch.setattr(
        "dbtssl.data.preparation.prepare.made_from", lambda raw, s: (key, times.st_size)
    )
    assert len(run(small_tree, out).cohort) == 6


def test_a_volume_that_turned_bad_leaves_nothing_behind(small_tree, tmp_path, broken):
    out = tmp_path / "out"
    path, whole = broken
    damaged = path.read_bytes()
    path.write_bytes(whole)
    raws = BcsDbt().volumes(small_tree.root)
    run(small_tree, out)
    raw = next(r for r in raws if r.volume.id == BROKEN)
    assert volume_path(out, raw.volume).is_file()
    path.write_bytes(damaged)
    run(small_tree, out, max_bad=1)
    assert not volume_path(out, raw.volume).exists()
    assert not tissue_path(out, raw.volume).exists()
    key, _ = finished.made_from(raw, PrepareConfig().settings())
    assert finished.read_record(out, raw, key) is None


def test_nothing_but_bad_volumes_is_refused(tree, tmp_path):
    tree.add("P1", SOPClassUID="1.2.840.10008.5.1.4.1.1.2").add("P2", "rcc", "benign", window=None)
    tree.tables()
    with pytest.raises(DataError, match="2 of 2 volumes cannot be prepared, none is left"):
        run(tree, tmp_path / "out", max_bad=5)
    assert [row["volume"] for row in table(tmp_path / "out")] == ["P1_S1_lcc", "P2_S1_rcc"]


def test_private_ids_and_paths_stay_out(small_tree, tmp_path, broken, monkeypatch):
    monkeypatch.setattr("dbtssl.data.deidentify.load_key", lambda: bytes(range(32)))
    out = tmp_path / "out"
    with pytest.raises(DataError) as error:
        run(small_tree, out, source=Clinic(), name="clinic")
    text = (out / "quarantine.csv").read_text()
    for told in (text, str(error.value).replace(str(out), "")):
        assert "P4" not in told
        assert str(small_tree.root) not in told
        assert "1-1.dcm" not in told


def test_many_bad_volumes_are_counted_and_a_few_named(tmp_path):
    bad = [Bad(f"P{i}", f"reason {i}", "fix it", "k") for i in range(9)]
    with pytest.raises(DataError, match="9 of 20") as error:
        check_bad(tmp_path, bad, 20, 8, {})
    assert error.value.message.count("reason") == 3
    assert "and 6 more" in error.value.message
    check_bad(tmp_path, bad, 20, 9, {})
    check_bad(tmp_path, [], 20, 0, {})


def test_the_table_comes_back(tmp_path):
    bad = [Bad("P1", 'a "quoted", text\nof two lines', "hint", "key"), Bad("P2", "b", "", "")]
    write_quarantine(tmp_path, bad)
    one_line = bad[0]._replace(reason='a "quoted", text of two lines')
    assert read_quarantine(tmp_path) == {"P1": one_line, "P2": bad[1]}
    assert count_rows(tmp_path / "quarantine.csv") == 2
    write_quarantine(tmp_path, [])
    assert read_quarantine(tmp_path) == {}
    assert count_rows(tmp_path / "quarantine.csv") == 0


def test_a_file_name_that_is_not_utf_8_can_be_told(tmp_path):
    write_quarantine(tmp_path, [Bad("P1", "/data/\udce9.dcm is cut off", "hint", "key")])
    assert read_quarantine(tmp_path)["P1"].reason == "/data/\\udce9.dcm is cut off"


@pytest.mark.parametrize("text", ["volume\nP1\n", "\x00", ""])
def test_a_damaged_table_counts_as_none(tmp_path, text):
    (tmp_path / "quarantine.csv").write_text(text)
    assert read_quarantine(tmp_path) == {}


def test_what_is_odd_is_noted(real, tmp_path):
    """DBT-P00853 lcc: 45 per-frame items for 4 frames; one note, and the volume is there."""
    from dbtssl.data.records import Label, Volume
    from dbtssl.interfaces import RawVolume

    volume = Volume("DBT-P00853", "DBT-S1", "lcc", 0, 0, 0, Label.NORMAL)
    raws = [RawVolume(volume, real / "real_header_noise_pixels.dcm")]
    for _ in range(2):
        prepare(BcsDbt(), raws, tmp_path, PrepareConfig(), name="bcs-dbt", phantom=False, jobs=1)
        assert (tmp_path / "notes.csv").read_text().splitlines() == [
            "volume,note",
            'DBT-P00853_DBT-S1_lcc,"the per-frame sequence has 45 items, the volume 4 frames"',
        ]
    assert len(PreparedDataset.open(tmp_path).cohort) == 1
