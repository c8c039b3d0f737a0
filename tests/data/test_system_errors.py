"""Where the machine fails, no file is called damaged and none is left out."""

from __future__ import annotations

import errno
import os
import resource
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dbtssl.data.dicom.frames import read_header
from dbtssl.data.preparation.preparation_state import read_quarantine
from dbtssl.data.preparation.prepare import PrepareConfig, prepare
from dbtssl.data.prepared.prepared_dataset import PreparedDataset, volume_path, write_dataset
from dbtssl.data.records import Label, SliceRef, Volume
from dbtssl.data.sources.bcs_dbt import BcsDbt
from dbtssl.data.sources.slice_folder import SliceFolder
from dbtssl.errors import DataError, MachineError, system_error

MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT)
WRONG = ("delete", "download it again", "damaged", "repair", "rights")


@contextmanager
def no_more_files():
    """Every file that this process may open is open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[0]), before[1]))
    try:
        while True:
            try:
                held.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        yield
    finally:
        for handle in held:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def dataset(tmp_path):
    volumes = [Volume("P1", "S1", "lcc", 0, 0, 0, Label.NORMAL)]
    return write_dataset(tmp_path / "set", volumes, [np.ones((2, 20, 20), dtype=np.uint16)])


def told(error, reason):
    assert reason in error.message
    assert error.hint
    assert not [word for word in WRONG if word in f"{error.message} {error.hint}"]


def test_too_many_open_files_are_named(dataset, tmp_path, dicom_writer, make_breast):
    path = dicom_writer(tmp_path / "1-1.dcm", make_breast(n=1)[0], window="top")
    (tmp_path / "t.csv").write_text(
        "file,patient,study,side,projection,slice,label\n1-1.dcm,P,S,l,cc,0,normal\n"
    )
    stack = SliceFolder().volumes(tmp_path)[0].reader
    slices = dataset.slices([0])
    for read in (
        lambda: slices.read(SliceRef(0, 0)),
        lambda: read_header(path),
        lambda: stack.header(),
        lambda: PreparedDataset.open(dataset.root),
    ):
        with no_more_files(), pytest.raises(MachineError) as error:
            read()
        told(error.value, "Too many open files")
        read()  # the file was whole


def test_damage_is_still_damage(dataset):
    path = volume_path(dataset.root, dataset.cohort[0])
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="is damaged") as error:
        dataset.slices([0]).read(SliceRef(0, 0))
    assert "delete the file" in error.value.hint


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (errno.EMFILE, "ulimit -n"),
        (errno.ENOMEM, "fewer processes"),
        (errno.ESTALE, "check the mount"),
        (errno.EIO, "the disk or its connection failed"),
        (errno.EACCES, "the right to read it"),
        (errno.ENOENT, "check the path"),
    ],
)
@pytest.mark.parametrize("where", ["dcm", "png"])
def test_each_failure_of_the_system_has_its_own_next_step(
    tmp_path, monkeypatch, dicom_writer, make_breast, code, hint, where
):
    dicom_writer(tmp_path / "a.dcm", make_breast(n=1)[0], window="top")
    Image.fromarray(np.zeros((40, 30), dtype=np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text(
        f"file,patient,study,side,projection,slice,label\na.{where},P,S,l,cc,0,normal\n"
    )
    reader = SliceFolder().volumes(tmp_path)[0].reader

    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code), "a.dcm")

    monkeypatch.setattr("dbtssl.data.sources.slice_files.Image.open", fail)
    monkeypatch.setattr("dbtssl.data.sources.slice_files.read_file_meta_info", fail)
    with pytest.raises(DataError) as error:
        reader.header()
    if code == errno.ENOENT:
        assert "no such file" in error.value.message
        return
    assert os.strerror(code) in error.value.message
    assert hint in error.value.hint
    assert isinstance(error.value, MachineError) == (code in MACHINE)
    if where == "dcm":
        monkeypatch.setattr("dbtssl.data.dicom.header.read_file_meta_info", fail)
        with pytest.raises(DataError, match=os.strerror(code)) as error:
            read_header(tmp_path / "a.dcm")
        assert hint in error.value.hint


def test_memory_and_what_something_else_caused():
    assert isinstance(system_error(MemoryError(), "x"), MachineError)
    assert system_error(ValueError("bad bytes"), "x") is None
    assert system_error(OSError("Pillow: broken data stream"), "x") is None
    try:
        try:
            raise OSError(errno.EIO, "Input/output error")
        except OSError as exc:
            raise RuntimeError("cannot decode") from exc
    except RuntimeError as exc:
        error = system_error(exc, "x.dcm")
    assert (type(error), error.message) == (DataError, "x.dcm: Input/output error")


def run(tree, out, max_bad=0):
    prepare(
        BcsDbt(),
        BcsDbt().volumes(tree.root),
        out,
        PrepareConfig(),
        name="bcs-dbt",
        phantom=False,
        jobs=1,
        max_bad=max_bad,
    )
    return PreparedDataset.open(out)


def failing(monkeypatch, part, code):
    opened = Path.open

    def fail(self, *args, **kwargs):
        if part in str(self) and self.name == "1-1.dcm":
            raise OSError(code, os.strerror(code), str(self))
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", fail)


@pytest.mark.parametrize("code", MACHINE)
def test_no_volume_is_left_out_for_what_the_machine_did(small_tree, tmp_path, monkeypatch, code):
    with monkeypatch.context() as patch:
        failing(patch, "/P4/", code)
        with pytest.raises(MachineError) as error:
            run(small_tree, tmp_path / "out", max_bad=5)
    told(error.value, os.strerror(code))
    assert "what is finished is kept" in error.value.hint
    assert read_quarantine(tmp_path / "out") == {}
    assert len(run(small_tree, tmp_path / "out").cohort) == 6


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
def test_a_volume_without_rights_or_disk_is_tried_again(small_tree, tmp_path, monkeypatch, code):
    """Both are put right without a change of the file's size or time."""
    with monkeypatch.context() as patch:
        failing(patch, "/P4/", code)
        assert len(run(small_tree, tmp_path / "out", max_bad=1).cohort) == 5
        (bad,) = read_quarantine(tmp_path / "out").values()
        assert os.strerror(code) in bad.reason
        assert "download" not in bad.hint
    assert len(run(small_tree, tmp_path / "out", max_bad=1).cohort) == 6
