from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from dbtssl.engine.store import MANIFEST, Stage, Store
from dbtssl.errors import DataError


def make_stage(run, **changes):
    stage = Stage(
        name="toy",
        label="a toy",
        version=1,
        config={"lr": 0.1, "seed": 0},
        parents={"data": "abc"},
        outputs=("out.txt",),
        run=run,
    )
    return replace(stage, **changes)


def write_ok(folder):
    (folder / "out.txt").write_text("ok")
    (folder / "log.jsonl").write_text(str(time.time()))


def test_a_stage_runs_once(tmp_path):
    calls = []

    def run(folder):
        calls.append(folder)
        write_ok(folder)

    store = Store(tmp_path)
    first, second = store.get(make_stage(run)), store.get(make_stage(run))
    assert len(calls) == 1
    assert (first.reused, second.reused) == (False, True)
    assert first.content == second.content
    assert first.folder == second.folder == store.path("toy", make_stage(run).key)
    assert not any((tmp_path / ".work").iterdir())


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"lr": 0.2, "seed": 0}},
        {"parents": {"data": "abd"}},
        {"version": 2},
        {"name": "toys"},
    ],
)
def test_whatever_decides_the_result_changes_the_key(change):
    assert make_stage(write_ok).key != make_stage(write_ok, **change).key


def test_the_label_does_not_change_the_key():
    assert make_stage(write_ok).key == make_stage(write_ok, label="another").key


def test_content_covers_result_files_only(tmp_path):
    one = Store(tmp_path / "a").get(make_stage(write_ok))
    two = Store(tmp_path / "b").get(make_stage(write_ok))
    assert one.content == two.content
    other = Store(tmp_path / "c").get(
        make_stage(lambda folder: (folder / "out.txt").write_text("other"))
    )
    assert other.content != one.content


def test_a_failed_stage_leaves_nothing_under_its_name_and_goes_on_later(tmp_path):
    store = Store(tmp_path)

    def fails(folder):
        (folder / "half.ckpt").write_text("half")
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        store.get(make_stage(fails))
    assert store.find(make_stage(fails)) is None

    found = []

    def resumes(folder):
        found.extend(p.name for p in folder.iterdir())
        write_ok(folder)

    store.get(make_stage(resumes))
    assert found == ["half.ckpt"]


def test_the_manifest_tells_where_a_result_comes_from(tmp_path):
    output = Store(tmp_path).get(make_stage(write_ok))
    manifest = json.loads((output.folder / MANIFEST).read_text())
    assert manifest["config"] == {"lr": 0.1, "seed": 0}
    assert manifest["parents"] == {"data": "abc"}
    assert manifest["files"]["out.txt"]["bytes"] == 2
    assert {"dbtssl", "python", "torch"} <= manifest["environment"].keys()


@pytest.mark.parametrize("damage", ["shorter", "gone", "manifest"])
def test_a_damaged_result_is_refused(tmp_path, damage):
    store = Store(tmp_path)
    folder = store.get(make_stage(write_ok)).folder
    if damage == "shorter":
        (folder / "out.txt").write_text("o")
    elif damage == "gone":
        (folder / "out.txt").unlink()
    else:
        (folder / MANIFEST).write_text("{")
    with pytest.raises(DataError, match="damaged") as caught:
        store.get(make_stage(write_ok))
    assert "remove that folder" in caught.value.hint


def test_a_full_disk_leaves_no_result(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            Store(tmp_path).get(make_stage(write_ok))
    assert Store(tmp_path).find(make_stage(write_ok)) is None
    assert Store(tmp_path).get(make_stage(write_ok)).reused is False


def test_results_are_on_the_disk_before_the_manifest_that_lists_them(tmp_path, monkeypatch):
    """A stage may write as it likes, and append to its log: the manifest is the last to be written."""
    synced, fsync = [], os.fsync

    def spy(handle):
        synced.append(os.fstat(handle).st_ino)
        fsync(handle)

    monkeypatch.setattr("os.fsync", spy)
    folder = Store(tmp_path).get(make_stage(write_ok)).folder
    order = [
        folder / "out.txt",
        folder / MANIFEST,
        folder,
        folder.parent,
    ]  # the last for its own name
    places = [synced.index(path.stat().st_ino) for path in order[:-1]]
    places.append(len(synced) - 1 - synced[::-1].index(order[-1].stat().st_ino))
    assert places == sorted(places)


def test_what_a_killed_run_left_half_written_is_not_stored(tmp_path):
    stage = make_stage(write_ok)
    work = tmp_path / ".work" / f"{stage.name}-{stage.key}"
    work.mkdir(parents=True)
    (work / ".out.txt.host-1-00.partial").write_text("h")
    folder = Store(tmp_path).get(stage).folder
    assert sorted(p.name for p in folder.iterdir()) == ["log.jsonl", MANIFEST, "out.txt"]


def _count(folder):
    (folder / f"ran-{os.getpid()}").touch()
    time.sleep(0.2)
    write_ok(folder)


def _race(root):
    Store(root).get(make_stage(_count))


def test_processes_that_race_run_a_stage_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_race, args=(tmp_path,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [p.exitcode for p in processes] == [0, 0, 0]
    folder = Store(tmp_path).path("toy", make_stage(_count).key)
    assert len(list(folder.glob("ran-*"))) == 1


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    store = Store(tmp_path)
    folder = store.get(make_stage(write_ok)).folder
    (folder / MANIFEST).unlink()
    with pytest.raises(DataError, match="its manifest is missing"):
        store.get(make_stage(write_ok))


def test_scratch_is_gone_from_a_complete_stage(tmp_path):
    def run(folder):
        write_ok(folder)
        (folder / "state.ckpt").touch()

    folder = Store(tmp_path).get(make_stage(run, scratch=("state.ckpt",))).folder
    assert sorted(p.name for p in folder.iterdir()) == ["log.jsonl", MANIFEST, "out.txt"]


def test_a_stage_that_was_killed_before_its_last_step_is_not_run_again(tmp_path, monkeypatch):
    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dbtssl.engine.store.rename", dies)  # after the manifest is in place
        with pytest.raises(KeyboardInterrupt):
            Store(tmp_path).get(make_stage(write_ok))

    def again(_):
        raise AssertionError("run again")

    assert Store(tmp_path).get(make_stage(again)).content


KILLED = """
import sys, time
from pathlib import Path
from dbtssl.engine.store import Stage, Store

def run(folder):
    (folder / "half.ckpt").write_text("half")
    print("started", flush=True)
    time.sleep(60)

Store(Path(sys.argv[1])).get(Stage("toy", "a toy", 1, {}, {}, ("out.txt",), run))
"""


def test_kill_9_leaves_no_result_and_no_lock(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "started\n"
    child.send_signal(signal.SIGKILL)
    child.wait(30)
    child.stdout.close()
    stage = Stage("toy", "a toy", 1, {}, {}, ("out.txt",), write_ok)
    store = Store(tmp_path)
    assert store.find(stage) is None
    assert store.get(stage).reused is False
