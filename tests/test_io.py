"""One durable write: the old content or the new one, whatever happens in between."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dbtssl.data.deidentify import load_key
from dbtssl.data.prepared.arrays import write_array
from dbtssl.io import (
    append_text,
    atomic_file,
    atomic_path,
    create,
    is_partial,
    make_folder,
    remove_partial,
    rename,
    write_bytes,
    write_text,
)


def _array(path, content):
    import numpy as np

    value = int.from_bytes(content[:1])
    write_array(path, [np.full((4, 4), value, dtype=np.uint16)], (1, 4, 4), np.uint16)


def _checkpoint(path, content):
    import torch

    from dbtssl.training.checkpoint import save_checkpoint

    save_checkpoint(path, {"content": torch.tensor(list(content))})


def _file(path, content):
    with atomic_file(path) as file:
        file.write(content)


def _path(path, content):
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


WRITERS = {
    "bytes": write_bytes,
    "text": lambda path, content: write_text(path, content.decode()),
    "file": _file,
    "path": _path,
    "array of a volume": _array,
    "checkpoint": _checkpoint,
}


@pytest.fixture(params=WRITERS)
def write(request):
    return WRITERS[request.param]


@pytest.fixture
def events(monkeypatch):
    """What happens to the disk, in order: ("sync", inode) and ("rename", inode)."""
    seen: list[tuple[str, int]] = []
    fsync, replace = os.fsync, Path.replace

    def sync(handle):
        seen.append(("sync", os.fstat(handle).st_ino))
        fsync(handle)

    def moved(self, target):
        seen.append(("rename", self.stat().st_ino))
        return replace(self, target)

    monkeypatch.setattr("os.fsync", sync)
    monkeypatch.setattr(Path, "replace", moved)
    return seen


def inode(path):
    return path.stat().st_ino


def test_the_file_is_on_the_disk_before_its_name_and_then_its_folder(write, tmp_path, events):
    path = tmp_path / "a.bin"
    write(path, b"new")
    at = events.index(("rename", inode(path)))
    assert ("sync", inode(path)) in events[:at]
    assert events[at + 1 :] == [("sync", inode(tmp_path))]


def test_a_new_folder_is_on_the_disk_in_the_one_above(tmp_path, events):
    write_bytes(tmp_path / "a" / "b" / "c.bin", b"")
    assert events[0:2] == [("sync", inode(tmp_path / "a")), ("sync", inode(tmp_path))]


@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.replace"])
def test_a_disk_that_fails_leaves_the_old_content(write, tmp_path, monkeypatch, where):
    path = tmp_path / "a.bin"
    write(path, b"old")
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        with pytest.raises(Exception, match="No space left on device"):
            write(path, b"new")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    write(path, b"new")
    assert path.read_bytes() != before


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_a_writer_that_is_stopped_leaves_the_old_content(tmp_path, error):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")

    def stopped():
        with atomic_file(path) as file:
            file.write(b"half of the new")
            raise error

    with pytest.raises(error):
        stopped()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import os, signal, sys
from pathlib import Path
from dbtssl.io import atomic_file

with atomic_file(Path(sys.argv[1])) as file:
    file.write(b"half of")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_writer_that_is_killed_leaves_the_old_content(tmp_path):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    (left,) = set(tmp_path.iterdir()) - {path}
    assert is_partial(left)
    remove_partial(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_partial_files_are_found_below_if_asked(tmp_path):
    inner = tmp_path / "in" / ".a.host-1-00.partial"
    inner.parent.mkdir()
    inner.touch()
    (tmp_path / "a.partial").touch()  # somebody else's
    remove_partial(tmp_path)
    assert inner.exists()
    remove_partial(tmp_path, below=True)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.partial", "in"]


def _many(path, content, start):
    start.wait()
    for _ in range(40):
        write_bytes(path, content)


def test_processes_that_write_one_file_do_not_meet(tmp_path):
    context = multiprocessing.get_context("spawn")
    path, start = tmp_path / "a.bin", context.Event()
    contents = [bytes([65 + i]) * 200_000 for i in range(3)]
    writers = [context.Process(target=_many, args=(path, c, start)) for c in contents]
    for writer in writers:
        writer.start()
    start.set()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            seen.add(path.read_bytes())
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert seen | {path.read_bytes()} <= set(contents)
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_names_are_of_one_host_and_one_writer(tmp_path, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "node/7.example")
    path = tmp_path / "a.bin"
    with atomic_path(path) as one, atomic_path(path) as other:
        one.touch()
        other.touch()
        assert one.parent == other.parent == tmp_path
        assert one != other
        assert "node-7-example" in one.name
        assert is_partial(one)
        assert not is_partial(path)


@pytest.mark.parametrize("name", ["x" * 255, "\u00e9" * 127])
def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path, name):
    write_bytes(tmp_path / name, b"all")
    assert (tmp_path / name).read_bytes() == b"all"


def test_text_keeps_its_line_ends(tmp_path):
    write_text(tmp_path / "a.txt", "\u00e9\r\nb\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xa9\r\nb\n"
    append_text(tmp_path / "a.txt", "c\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xa9\r\nb\nc\n"


def test_what_is_appended_is_on_the_disk(tmp_path, events):
    append_text(tmp_path / "log", "a\n")
    assert events == [("sync", inode(tmp_path / "log"))]


def test_a_folder_is_renamed_for_good(tmp_path, events):
    work = tmp_path / "work" / "a"
    work.mkdir(parents=True)
    number = inode(work)
    rename(work, tmp_path / "final" / "b")
    at = events.index(("rename", number))
    assert events[at + 1 :] == [
        ("sync", inode(tmp_path / "final")),
        ("sync", inode(tmp_path / "work")),
    ]
    assert inode(tmp_path / "final" / "b") == number


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_system_that_cannot_synchronise_folders_is_left_alone(tmp_path, monkeypatch, code):
    fsync = os.fsync

    def only_files(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, os.strerror(code))
        fsync(handle)

    monkeypatch.setattr("os.fsync", only_files)
    write_bytes(tmp_path / "a.bin", b"all")
    assert (tmp_path / "a.bin").read_bytes() == b"all"


def test_a_disk_that_fails_in_a_folder_is_said(tmp_path, monkeypatch):
    def broken(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        write_bytes(tmp_path / "a.bin", b"all")


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
def test_what_is_created_once_stays_and_is_private_from_the_beginning(tmp_path, monkeypatch):
    path, modes, fsync = tmp_path / "key", [], os.fsync

    def spy(handle):
        modes.append(
            (stat.S_IFMT(os.fstat(handle).st_mode), stat.S_IMODE(os.fstat(handle).st_mode))
        )
        fsync(handle)

    monkeypatch.setattr("os.fsync", spy)
    create(path, b"first", 0o600)
    create(path, b"second", 0o600)
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
    assert [mode for kind, mode in modes if kind == stat.S_IFREG] == [0o600, 0o600]
    assert modes[1][0] == stat.S_IFDIR


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
def test_modes_are_those_of_any_new_file(tmp_path):
    old = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a.bin", b"")
        make_folder(tmp_path / "new" / "private", 0o700)
        load_key(tmp_path / "own" / "key")
    finally:
        os.umask(old)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.rglob("*")}
    assert modes == {
        "a.bin": 0o640,
        "new": 0o750,
        "private": 0o700,
        "own": 0o700,
        "key": 0o600,
    }
