"""Preparation at scale: memory, disk space, half resolution, readers of other files, media that are only read."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pydicom
import pytest

from dbtssl.data.dicom import codestream
from dbtssl.data.dicom.frames import Header
from dbtssl.data.preparation.disk_space import COMPRESSION, estimate
from dbtssl.data.preparation.prepare import LOCK, PrepareConfig, prepare
from dbtssl.data.preparation.prepare_volume import Target
from dbtssl.data.prepared.prepared_dataset import PreparedDataset
from dbtssl.data.records import Label, SliceRef, Volume, Window
from dbtssl.data.sources.bcs_dbt import BcsDbt
from dbtssl.errors import DataError
from dbtssl.interfaces import RawVolume


def run(tree, out, **settings):
    raws = BcsDbt().volumes(tree.root)
    prepare(BcsDbt(), raws, out, PrepareConfig(**settings), name="bcs-dbt", phantom=False, jobs=1)
    return PreparedDataset.open(out)


def half_written(out):
    return [p.name for p in out.rglob(".*") if p.name != LOCK]


FULL = """
import resource, sys
from pathlib import Path
from dbtssl.data.sources.bcs_dbt import BcsDbt
from dbtssl.data.preparation.prepare import PrepareConfig, prepare
from dbtssl.errors import DataError

limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    raws = BcsDbt().volumes(Path(sys.argv[1]))
    prepare(BcsDbt(), raws, Path(sys.argv[2]), PrepareConfig(), name="bcs-dbt", phantom=False, jobs=1)
except DataError as error:
    print(error)
"""


def test_a_disk_that_takes_no_more_of_a_volume_is_refused(small_tree, tmp_path):
    """The frames are written by blosc2, which does not say why it cannot; the system's limit of a file's size stands
    for the disk."""
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(small_tree.root), str(out), "40000"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "cannot write into" in done.stdout
    assert "File too large" in done.stdout
    assert half_written(out) == []
    assert not (out / "quarantine.csv").exists()  # it is not the volumes' fault
    assert len(run(small_tree, out).cohort) == 6


def test_too_little_room_is_refused_before_anything_is_written(small_tree, tmp_path, monkeypatch):
    out = tmp_path / "out"
    usage = type(shutil.disk_usage(tmp_path))(10**12, 10**12, 100_000)
    monkeypatch.setattr("dbtssl.data.preparation.disk_space.shutil.disk_usage", lambda path: usage)
    with pytest.raises(
        DataError, match=r"has 0\.1 MB free, the prepared volumes take about 0\.3 MB"
    ) as error:
        run(small_tree, out)
    assert "--resolution half" in error.value.hint
    assert not (out / "volumes").exists()
    run(small_tree, out, resolution="half")  # takes a quarter


def test_the_room_is_that_of_the_raw_pixels_over_what_compression_saves(small_tree):
    raws = BcsDbt().volumes(small_tree.root)
    sizes = {raw.volume.id: raw.path.stat().st_size for raw in raws}
    pixels = 35 * 150 * 120
    assert estimate(raws, sizes, Target()) == pytest.approx(2 * pixels / COMPRESSION, rel=0.02)
    assert estimate(raws, sizes, Target(60)) == pytest.approx(pixels / 2 / COMPRESSION, rel=0.02)
    assert estimate(raws, sizes, Target(None, True)) == estimate(raws, sizes, Target(60))
    assert estimate([], {}, Target()) == 0


def test_a_header_that_lies_does_not_fill_the_disk(tree, tmp_path, dicom_writer, make_breast):
    """Its frames are counted when they are read; before that it would ask for 2.6 GB."""
    for i in range(4):
        tree.add(f"P{i}", "lcc", "cancer", compress=True)
    raws = BcsDbt().volumes(tree.tables())
    sizes = {raw.volume.id: raw.path.stat().st_size for raw in raws}
    before = estimate(raws, sizes, Target())
    dicom_writer(raws[0].path, make_breast()[0], compress=True, NumberOfFrames=4096)
    assert estimate(raws, sizes, Target()) == pytest.approx(before, rel=0.05)


@pytest.mark.parametrize("compress", [True, False])
def test_half_resolution_takes_boxes_along_and_turns(tree, tmp_path, compress):
    """At the half-resolution level of JPEG 2000; what has none is shrunk."""
    tree.add("P1", "lcc", "cancer", box=(3, 20, 50, 16, 12), compress=compress)
    tree.add("P1", "rmlo", "cancer", rotated=True, compress=compress).tables()
    full, half = run(tree, tmp_path / "full"), run(tree, tmp_path / "half", resolution="half")
    assert {s.volume.id for s in half.stored if s.rotated} == {"P1_S1_rmlo"}
    assert half.config == {"short_side": None, "resolution": "half", "tissue": "otsu-root"}
    assert full.config == {"short_side": None, "tissue": "otsu-root"}
    box = half.cohort[0].boxes[0]
    assert (box.z, box.x, box.y, box.width, box.height) == (3, 10, 25, 8, 6)
    for i in range(2):
        assert (half.cohort[i].rows, half.cohort[i].columns) == (75, 60)
        big, small = (d.slices([i]).read(SliceRef(0, 3)) for d in (full, half))
        mean = big.reshape(75, 2, 60, 2).mean(axis=(1, 3))
        assert np.corrcoef(mean.ravel(), small.ravel())[0, 1] > 0.98
        masks = [d.slices([i]).tissue(0) for d in (full, half)]
        agree = masks[0][::2, ::2] == masks[1]
        assert agree.mean() > 0.98


def test_half_and_then_smaller(tree, tmp_path):
    tree.add("P1", "lcc", "cancer", compress=True).tables()
    dataset = run(tree, tmp_path / "out", resolution="half", short_side=40)
    assert (dataset.cohort[0].rows, dataset.cohort[0].columns) == (50, 40)
    dataset = run(tree, tmp_path / "not", resolution="half", short_side=100)
    assert (dataset.cohort[0].rows, dataset.cohort[0].columns) == (75, 60)  # never enlarged


def test_every_frame_is_decoded_once(tree, tmp_path, monkeypatch):
    tree.add("P1", "lcc", "cancer", n=9, compress=True).tables()
    count = []

    def spy(data, image, real=codestream.decode):
        count.append(1)
        return real(data, image)

    monkeypatch.setattr(codestream, "decode", spy)
    run(tree, tmp_path / "out")
    assert len(count) == 9


class Reader:
    """A volume that is no DICOM file."""

    def __init__(self, frames, path, given=None):
        self.given, self.path = frames if given is None else frames[:given], path
        self.shape = frames.shape

    @property
    def files(self):
        return (self.path,)

    def header(self):
        n, rows, columns = self.shape
        return Header(n_slices=n, rows=rows, columns=columns, window=Window(0.0, 1023.0))

    def frames(self, slices=None):
        for z in range(len(self.given)) if slices is None else slices:
            if z < len(self.given):
                yield self.given[z]


@pytest.mark.parametrize("oriented", [True, False])
def test_another_reader(tmp_path, make_breast, oriented):
    frames, _ = make_breast("r")
    (tmp_path / "file").write_bytes(b"x" * 10)
    volume = Volume("P1", "S1", "lcc", 6, 0, 0, Label.NORMAL)
    raws = [RawVolume(volume, tmp_path / "file", Reader(frames, tmp_path / "file"), oriented)]
    out = tmp_path / "out"
    prepare(
        BcsDbt(), raws, out, PrepareConfig(resolution="half"), name="bcs-dbt", phantom=False, jobs=1
    )
    dataset = PreparedDataset.open(out)
    assert dataset.stored[0].rotated is not oriented
    assert (dataset.cohort[0].rows, dataset.cohort[0].columns) == (75, 60)


def test_a_reader_that_gives_too_few_frames_is_refused(tmp_path, make_breast):
    frames, _ = make_breast("l")
    (tmp_path / "file").write_bytes(b"x" * 10)
    volume = Volume("P1", "S1", "lcc", 6, 0, 0, Label.NORMAL)
    raws = [RawVolume(volume, tmp_path / "file", Reader(frames, tmp_path / "file", given=5))]
    with pytest.raises(DataError, match="no slice 5, the header says 6"):
        prepare(
            BcsDbt(), raws, tmp_path / "out", PrepareConfig(), name="bcs-dbt", phantom=False, jobs=1
        )


def test_a_volume_that_is_listed_twice_is_refused(small_tree, tmp_path):
    raws = BcsDbt().volumes(small_tree.root)
    with pytest.raises(DataError, match="holds these volumes twice: P3_S1_rmlo"):
        prepare(
            BcsDbt(), [*raws, raws[3]], tmp_path, PrepareConfig(), name="x", phantom=False, jobs=1
        )


def test_the_images_are_only_read(small_tree, tmp_path):
    """Through a symbolic link, and nothing below the root changes: it may lie on read-only media."""
    link = tmp_path / "link"
    link.symlink_to(small_tree.root, target_is_directory=True)
    paths = sorted(small_tree.root.rglob("*"))
    before = [(p, p.stat().st_mtime_ns) for p in paths]
    raws = BcsDbt().volumes(link)
    prepare(
        BcsDbt(), raws, tmp_path / "out", PrepareConfig(), name="bcs-dbt", phantom=False, jobs=1
    )
    assert [(p, p.stat().st_mtime_ns) for p in sorted(small_tree.root.rglob("*"))] == before
    assert PreparedDataset.open(tmp_path / "out").digest == run(small_tree, tmp_path / "b").digest


MEASURED = """
import sys
from pathlib import Path
from dbtssl.data.preparation.prepare_volume import Target, prepare_volume
from dbtssl.data.records import Label, Volume
from dbtssl.interfaces import RawVolume

raw = RawVolume(Volume("P1", "S1", "lcc", 0, 0, 0, Label.NORMAL), Path(sys.argv[1]))
print(prepare_volume(raw, Path(sys.argv[2]), Target(), "otsu-root").stored.volume.n_slices)
print(peak())
"""


@pytest.mark.slow
def test_a_worker_stays_below_700_mb_on_the_largest_matrix(
    tmp_path, make_breast, dicom_writer, peak_memory
):
    """2457 x 1996 x 70 noisy pixels, 688 MB of them."""
    frames, _ = make_breast(n=1, rows=2457, columns=1996)
    path = dicom_writer(tmp_path / "1-1.dcm", frames, compress=True)
    ds = pydicom.dcmread(path)
    frame = next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1))
    ds.PixelData = pydicom.encaps.encapsulate([frame] * 70)
    ds.NumberOfFrames = 70
    ds.save_as(path)
    done = subprocess.run(
        [sys.executable, "-c", peak_memory + MEASURED, str(path), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=True,
    )
    n, most = map(int, done.stdout.split())
    assert n == 70
    assert most < 700e6
