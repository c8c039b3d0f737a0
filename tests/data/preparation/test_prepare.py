from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from dbtssl.data.preparation import prepare as module
from dbtssl.data.preparation.prepare import LOCK, PrepareConfig, prepare
from dbtssl.data.prepared.prepared_dataset import (
    PreparedDataset,
    read_manifest,
    tissue_path,
    volume_path,
)
from dbtssl.data.records import SliceRef
from dbtssl.data.sources.bcs_dbt import BcsDbt
from dbtssl.errors import DataError

ROTATED = {"P1_S1_lmlo", "P3_S1_rmlo"}


def run(tree, out, jobs=1, phantom=False, **settings):
    prepare(
        BcsDbt(),
        BcsDbt().volumes(tree.root),
        out,
        PrepareConfig(**settings),
        name="bcs-dbt",
        phantom=phantom,
        jobs=jobs,
    )
    return PreparedDataset.open(out)


def refused(tree, out, match, **how):
    with pytest.raises(DataError, match=match) as error:
        run(tree, out, **how)
    return error.value


def half_written(out):
    return [p.name for p in out.rglob(".*") if p.name != LOCK]


@pytest.fixture
def decoded(monkeypatch):
    """Ids of the volumes that are prepared in this process."""
    ids = []

    def spy(raw, *rest, real=module.prepare_volume):
        ids.append(raw.volume.id)
        return real(raw, *rest)

    monkeypatch.setattr(module, "prepare_volume", spy)
    return ids


def test_frames_are_turned_and_kept_at_full_depth(small_tree, tmp_path, make_breast):
    dataset = run(small_tree, tmp_path / "out")
    assert {s.volume.id for s in dataset.stored if s.rotated} == ROTATED
    slices = dataset.slices(range(len(dataset.cohort)))
    for i, volume in enumerate(slices.cohort):
        seed = int(volume.patient[1:]) * 8 + "lr".index(volume.side) * 4 + len(volume.view)
        frames, truth = make_breast(volume.side, n=volume.n_slices, seed=seed)
        assert volume.window == (256.0, 768.0)
        expected = np.clip((frames - 256.0) / 512.0, 0, 1)
        for z in range(volume.n_slices):
            np.testing.assert_allclose(slices.read(SliceRef(i, z)), expected[z], atol=1e-6)
        mask = slices.tissue(i)
        assert (mask & truth).sum() / (mask | truth).sum() > 0.98
        for box in volume.boxes:
            assert mask[
                int(box.y) : int(box.y + box.height), int(box.x) : int(box.x + box.width)
            ].all()


def test_shrinking_takes_boxes_and_crop_along(small_tree, tmp_path):
    full, half = (
        run(small_tree, tmp_path / "full"),
        run(small_tree, tmp_path / "half", short_side=60),
    )
    assert (half.cohort[0].rows, half.cohort[0].columns) == (75, 60)
    one, two = full.cohort[0].boxes[0], half.cohort[0].boxes[0]
    assert (two.z, two.x, two.y, two.width, two.height) == (
        one.z,
        one.x / 2,
        one.y / 2,
        one.width / 2,
        one.height / 2,
    )
    assert np.abs(np.array(half.cohort[0].crop) * 2 - full.cohort[0].crop).max() <= 2
    big, small = (d.slices([0]).read(SliceRef(0, 2)) for d in (full, half))
    mean = big.reshape(75, 2, 60, 2).mean(axis=(1, 3))
    assert np.corrcoef(mean.ravel(), small.ravel())[0, 1] > 0.99
    assert small[20:32, 5:15].std() < 0.8 * big[40:64, 10:30].std()  # noise is averaged, not picked


def test_slices_are_never_enlarged(small_tree, tmp_path):
    dataset = run(small_tree, tmp_path / "out", short_side=500)
    assert (dataset.cohort[0].rows, dataset.cohort[0].columns) == (150, 120)


def test_a_second_run_does_nothing(small_tree, tmp_path, decoded, capsys):
    out = tmp_path / "out"
    digest = run(small_tree, out).digest
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.name != LOCK}
    assert len(decoded) == 6
    assert re.search(r"6/6 volumes, [\d.]+/s, [\d.]+ MB/s, took", capsys.readouterr().err)
    assert run(small_tree, out).digest == digest
    assert len(decoded) == 6
    assert capsys.readouterr().err == ""
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_the_result_does_not_depend_on_the_number_of_processes(small_tree, tmp_path):
    one, two = run(small_tree, tmp_path / "one", jobs=1), run(small_tree, tmp_path / "two", jobs=2)
    assert one.digest == two.digest
    for volume in one.cohort:
        for path in (volume_path, tissue_path):
            assert path(one.root, volume).read_bytes() == path(two.root, volume).read_bytes()


def test_settings_make_another_data_set(small_tree, tmp_path):
    digests = {
        run(small_tree, tmp_path / "a").digest,
        run(small_tree, tmp_path / "b", short_side=64).digest,
        run(small_tree, tmp_path / "c", tissue="otsu").digest,
        run(small_tree, tmp_path / "d", phantom=True).digest,
    }
    assert len(digests) == 4
    error = refused(
        small_tree, tmp_path / "a", "holds a data set prepared otherwise", short_side=64
    )
    assert "another folder" in error.hint
    assert read_manifest(tmp_path / "a") is not None


def test_only_what_changed_is_made_again(small_tree, tmp_path, decoded):
    out = tmp_path / "out"
    first = run(small_tree, out).digest
    path = BcsDbt().volumes(small_tree.root)[3].path
    os.utime(path, ns=(1, 1))
    decoded.clear()
    assert run(small_tree, out).digest == first
    assert decoded == ["P3_S1_rmlo"]
    small_tree.boxes[1][5] += 1  # X of the first box
    small_tree.tables()
    decoded.clear()
    assert run(small_tree, out).digest != first
    assert decoded == ["P1_S1_lcc"]


def test_a_deleted_or_damaged_part_is_made_again(small_tree, tmp_path, decoded):
    out = tmp_path / "out"
    dataset = run(small_tree, out)
    volume_path(out, dataset.cohort[1]).unlink()
    tissue_path(out, dataset.cohort[2]).unlink()
    (out / "records" / f"{dataset.cohort[4].id}.json").write_text("{")
    (out / "dataset.json").unlink()
    decoded.clear()
    assert run(small_tree, out).digest == dataset.digest
    assert decoded == [dataset.cohort[i].id for i in (1, 2, 4)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_unreadable_volume_is_named_and_the_rest_is_kept(small_tree, tmp_path, jobs):
    out = tmp_path / "out"
    path = BcsDbt().volumes(small_tree.root)[4].path
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    error = refused(small_tree, out, "volume P4_S1_lcc .*bytes of pixels", jobs=jobs)
    assert "download it again" in error.hint
    assert not (out / "dataset.json").exists()
    assert half_written(out) == []
    assert not list(out.rglob("P4*"))
    path.write_bytes(whole)
    assert len(run(small_tree, out).cohort) == 6


@pytest.mark.parametrize(
    ("add", "match"),
    [
        (
            {"label": "cancer", "NumberOfFrames": 5},
            "VolumeSlices 6 in the table of boxes, 5 frames",
        ),
        (
            {"label": "cancer", "box": (6, 20, 50, 9, 9)},
            "a box on slice 6, the volume has slices 0 to 5",
        ),
        (
            {"label": "cancer", "box": (3, 120, 50, 9, 9)},
            "a box at x 120, y 50, the slices have 120 columns",
        ),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "not tomosynthesis"),
        ({"window": None}, "no usable window"),
    ],
)
def test_a_volume_that_does_not_fit_is_refused(tree, tmp_path, add, match):
    tree.add("P7", **add).tables()
    if not tree.boxes[1:]:
        tree.add("P8", label="benign").tables()
    refused(tree, tmp_path / "out", rf"volume P7_S1_lcc \(.*\): .*({match})")
    assert half_written(tmp_path / "out") == []


def test_an_empty_volume_has_no_tissue(tree, tmp_path, dicom_writer):
    tree.add("P7", label="cancer").tables()
    dicom_writer(BcsDbt().volumes(tree.root)[0].path, np.zeros((6, 40, 40), dtype=np.uint16))
    tree.boxes[1][5:9] = [1, 1, 9, 9]
    tree.tables()
    refused(tree, tmp_path / "out", r"volume P7_S1_lcc \(.*\): no tissue")


def test_no_volume_is_refused(tmp_path):
    with pytest.raises(DataError, match="the source bcs-dbt lists no volume"):
        prepare(BcsDbt(), [], tmp_path, PrepareConfig(), name="bcs-dbt", phantom=False, jobs=1)


def test_a_file_in_the_place_of_the_folder_is_refused(small_tree, tmp_path):
    (tmp_path / "out").write_text("")
    refused(small_tree, tmp_path / "out", "is not a folder")


def test_two_runs_at_once_are_refused(small_tree, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with FileLock(out / LOCK):
        refused(small_tree, out, "another process prepares")
    run(small_tree, out)


@pytest.mark.parametrize("name", ["P2_S1_rcc.json", "volumes.parquet", "dataset.json"])
def test_a_full_disk_is_refused_and_the_run_can_go_on(
    small_tree, tmp_path, monkeypatch, name, decoded
):
    out = tmp_path / "out"
    expected = run(small_tree, tmp_path / "expected").digest
    whole = Path.write_bytes

    def full(self, data):
        if self.name.startswith(f".{name}"):
            whole(self, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return whole(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        error = refused(small_tree, out, "the disk of .*out is full")
    assert "make room" in error.hint
    assert half_written(out) == []
    assert not (out / "dataset.json").exists()
    decoded.clear()
    assert run(small_tree, out).digest == expected
    assert len(decoded) == (4 if "P2" in name else 0)


def test_a_folder_that_cannot_be_written_is_refused(small_tree, tmp_path, monkeypatch):
    def denied(self, data):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "write_bytes", denied)
    refused(small_tree, tmp_path / "out", "cannot write into .*Permission denied")


KILLED = """
import os, signal, sys
from pathlib import Path
from dbtssl.data.sources.bcs_dbt import BcsDbt
from dbtssl.data.preparation.prepare import PrepareConfig, prepare

left, replace = [int(sys.argv[3])], Path.replace

def rename(self, target):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)

Path.replace = rename
raws = BcsDbt().volumes(Path(sys.argv[1]))
prepare(BcsDbt(), raws, Path(sys.argv[2]), PrepareConfig(), name="bcs-dbt", phantom=False, jobs=1)
"""


@pytest.mark.parametrize(("renames", "finished"), [(8, 2), (20, 6)])
def test_a_killed_run_goes_on_and_gives_the_same(small_tree, tmp_path, renames, finished, decoded):
    """Three files a volume are renamed into place, then two tables and the manifest."""
    out = tmp_path / "out"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(small_tree.root), str(out), str(renames)],
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(half_written(out)) == 1
    assert not (out / "dataset.json").exists()
    assert len(list((out / "records").glob("*.json"))) == finished
    dataset = run(small_tree, out)
    assert len(decoded) == 6 - finished
    assert half_written(out) == []
    assert dataset.digest == run(small_tree, tmp_path / "clean").digest


PARALLEL = """
import os, signal, sys
from pathlib import Path
from dbtssl import progress
from dbtssl.data.sources.bcs_dbt import BcsDbt
from dbtssl.data.preparation.prepare import PrepareConfig, prepare

def struck(*args, **kwargs):  # at the first finished volume, while the workers are busy with others
    os.kill(os.getpid(), int(sys.argv[3]))

if __name__ == "__main__":
    progress._Lines.advance = struck
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in background jobs
    raws = BcsDbt().volumes(Path(sys.argv[1]))
    prepare(BcsDbt(), raws, Path(sys.argv[2]), PrepareConfig(), name="bcs-dbt", phantom=False, jobs=2)
"""


@pytest.mark.parametrize(
    "sent", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)]
)
def test_workers_end_with_their_parent(tree, tmp_path, sent):
    for i in range(12):
        tree.add(f"P{i}", label="benign" if i == 0 else "normal", n=40)
    tree.tables()
    out, script = tmp_path / "out", tmp_path / "parallel.py"
    script.write_text(PARALLEL)
    process = subprocess.Popen(
        [sys.executable, str(script), str(tree.root), str(out), str(int(sent))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    _, errors = process.communicate(
        timeout=60
    )  # the workers hold the pipes too: this waits for them
    assert process.returncode == -sent
    assert errors.count(b"Traceback") == (
        sent == signal.SIGINT
    )  # the parent's own, none of a worker
    assert 1 <= len(list(out.glob("records/*.json"))) < 12
    if sent == signal.SIGINT:
        assert half_written(out) == []
    assert len(run(tree, out).cohort) == 12
    assert half_written(out) == []


def test_mini_tree(real, tmp_path):
    """Two of the 14 volumes are stored upside down; turned, every box lies on tissue."""
    raws = BcsDbt().volumes(real / "mini_tree")
    prepare(BcsDbt(), raws, tmp_path, PrepareConfig(), name="bcs-dbt", phantom=False, jobs=1)
    dataset = PreparedDataset.open(tmp_path)
    assert len(dataset.cohort) == 14
    assert {s.volume.id for s in dataset.stored if s.rotated} == {
        *("DBT-P00024_DBT-S03255_lcc", "DBT-P00107_DBT-S05365_lcc")
    }
    slices = dataset.slices(range(14))
    for i, volume in enumerate(slices.cohort):
        mask = slices.tissue(i)
        assert 0.05 < mask.mean() < 0.7
        chest_wall = mask[:, 0] if volume.side == "l" else mask[:, -1]
        assert chest_wall.sum() > 0.3 * volume.rows
        assert not (mask[:, -1] if volume.side == "l" else mask[:, 0]).any()
        for box in volume.boxes:
            y, x, h, w = (int(v) for v in (box.y, box.x, box.height, box.width))
            assert mask[y : y + h, x : x + w].mean() > 0.8
    counts = json.loads((tmp_path / "dataset.json").read_text())["counts"]
    assert counts == {
        "patients": 6,
        "volumes": 14,
        "slices": 906,
        "boxes": 8,
        "rotated": 2,
        "labels": {"benign": 3, "cancer": 3, "normal": 8},
    }


def test_a_file_that_went_away_is_refused(small_tree, tmp_path):
    raws = BcsDbt().volumes(small_tree.root)
    raws[2].path.unlink()
    with pytest.raises(DataError, match=r"volume P2_S1_rcc .*: cannot read its file: No such file"):
        prepare(
            BcsDbt(), raws, tmp_path / "out", PrepareConfig(), name="bcs-dbt", phantom=False, jobs=1
        )
