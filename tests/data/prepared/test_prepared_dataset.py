from __future__ import annotations

import json
import multiprocessing
import pickle
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from dbtssl.config import Config
from dbtssl.data.prepared import prepared_dataset as store
from dbtssl.data.prepared.prepared_dataset import (
    PreparedDataset,
    read_manifest,
    volume_path,
    write_dataset,
    write_volume,
)
from dbtssl.data.records import Box, Label, Rect, SliceRef, Volume, Window
from dbtssl.errors import DataError

WINDOW = Window(100.0, 900.0)


def volumes():
    box = Box(2, 10.5, 20, 30, 40, Label.CANCER, distortion=True)
    return [
        Volume("P1", "S1", "lcc", 0, 0, 0, Label.CANCER, (box, replace(box, z=0)), WINDOW),
        Volume("P1", "S1", "lmlo", 0, 0, 0, Label.CANCER, (box,), WINDOW),
        Volume("P2", "S1", "rcc", 0, 0, 0, Label.NORMAL, (), Window(-50.0, 100.0)),
    ]


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 1024, (n, 200, 150), dtype=np.uint16) for n in (4, 3, 5)]


@pytest.fixture(scope="module")
def masks(arrays):
    masks = [np.zeros(a.shape[1:], dtype=bool) for a in arrays]
    for i, mask in enumerate(masks):
        mask[10 : 150 + i, 5:140] = True
    return masks


@pytest.fixture
def dataset(tmp_path, arrays, masks):
    return write_dataset(tmp_path, volumes(), arrays, masks)


def shown(array, window):
    return np.clip((array.astype(float) - window.low) / (window.high - window.low), 0, 1)


def test_records_survive(dataset, tmp_path):
    again = PreparedDataset.open(tmp_path)
    assert (again.digest, again.stored) == (dataset.digest, dataset.stored)
    assert list(again.cohort) == list(dataset.cohort)
    first = again.cohort[0]
    assert first.boxes == volumes()[0].boxes
    assert (first.n_slices, first.rows, first.columns, first.window) == (4, 200, 150, WINDOW)
    assert first.crop == Rect(10, 5, 150, 140)
    assert (again.source, again.phantom, dict(again.config)) == ("arrays", True, {})
    counts = read_manifest(tmp_path)["counts"]
    assert counts == {
        "patients": 2,
        "volumes": 3,
        "slices": 12,
        "boxes": 3,
        "rotated": 0,
        "labels": {"cancer": 2, "normal": 1},
    }


def test_slices_are_windowed(dataset, arrays):
    slices = dataset.slices([0, 1, 2])
    for i, volume in enumerate(slices.cohort):
        for z in (0, volume.n_slices - 1):
            got = slices.read(SliceRef(i, z))
            assert got.dtype == np.float32
            np.testing.assert_allclose(got, shown(arrays[i][z], volume.window), atol=1e-6)


@pytest.mark.parametrize(
    "rect",
    [
        Rect(0, 0, 200, 150),
        Rect(120, 100, 184, 140),
        Rect(127, 127, 129, 129),
        Rect(-10, -20, 50, 40),
        Rect(190, 140, 254, 204),
        Rect(-5, -5, 300, 300),
        Rect(300, 0, 364, 64),
        Rect(10, 10, 10, 30),
    ],
)
def test_a_rectangle_is_cut_and_padded_with_zeros(dataset, arrays, masks, rect):
    slices = dataset.slices([2])  # its window shows a stored 0 as 1/3
    pad = 200
    padded = np.pad(shown(arrays[2][1], slices.cohort[0].window), pad)
    expected = padded[pad + rect.y0 : pad + rect.y1, pad + rect.x0 : pad + rect.x1]
    np.testing.assert_allclose(slices.read(SliceRef(0, 1), rect), expected, atol=1e-6)
    mask = np.pad(masks[2], pad)[pad + rect.y0 : pad + rect.y1, pad + rect.x0 : pad + rect.x1]
    tissue = slices.tissue(0, rect)
    assert tissue.dtype == np.bool_
    np.testing.assert_array_equal(tissue, mask)


def test_only_the_chosen_volumes_are_within_reach(dataset, arrays):
    slices = dataset.slices([2, 0])
    assert [v.id for v in slices.cohort] == ["P2_S1_rcc", "P1_S1_lcc"]
    np.testing.assert_allclose(slices.read(SliceRef(1, 3)), shown(arrays[0][3], WINDOW), atol=1e-6)
    np.testing.assert_array_equal(slices.tissue(1), dataset.slices([0]).tissue(0))
    with pytest.raises(IndexError):
        slices.read(SliceRef(2, 0))


@pytest.mark.parametrize("z", [-1, 4])
def test_a_slice_outside_the_volume_is_an_index_error(dataset, z):
    with pytest.raises(IndexError, match=f"slice {z} of a volume with 4 slices"):
        dataset.slices([0]).read(SliceRef(0, z))


def test_without_masks_all_is_tissue(tmp_path, arrays):
    dataset = write_dataset(tmp_path, volumes(), arrays)
    assert dataset.slices([1]).tissue(0).all()
    assert dataset.cohort[1].crop == (0, 0, 200, 150)


def test_few_files_are_kept_open(dataset, monkeypatch):
    monkeypatch.setattr(store, "OPEN_FILES", 2)
    slices = dataset.slices([0, 1, 2])
    opened = []
    monkeypatch.setattr(store, "open_array", lambda p, f=store.open_array: opened.append(p) or f(p))
    for i in (0, 1, 0, 2, 0, 1):
        slices.read(SliceRef(i, 0))
    assert len(slices._open) == 2
    assert len(opened) == 4  # 0 stays as the one last used


def _checksum(slices):
    return float(sum(slices.read(SliceRef(i, 0)).sum() for i in range(len(slices.cohort))))


def _child(slices, queue):
    queue.put(_checksum(slices))


def test_a_reader_may_be_pickled(dataset):
    slices = dataset.slices([0, 2])
    expected = _checksum(slices)  # files are open now
    again = pickle.loads(pickle.dumps(slices))
    assert _checksum(again) == expected
    assert len(pickle.dumps(slices)) < 5_000


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_reader_works_in_other_processes(dataset, method):
    slices = dataset.slices([0, 1, 2])
    expected = _checksum(slices)
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    child = context.Process(target=_child, args=(slices, queue))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert queue.get() == expected
    assert _checksum(slices) == expected


def test_the_same_input_gives_the_same_bytes(tmp_path, arrays, masks):
    one, two = (write_dataset(tmp_path / n, volumes(), arrays, masks) for n in "ab")
    assert one.digest == two.digest
    files = sorted(p.relative_to(one.root) for p in one.root.rglob("*") if p.is_file())
    assert len(files) == 9
    for name in files:
        assert (one.root / name).read_bytes() == (two.root / name).read_bytes(), name


class _Settings(Config):
    side: int = 1


def test_the_digest_covers_everything(dataset, tmp_path, arrays, masks):
    pixel = [a.copy() for a in arrays]
    pixel[1][2, 100, 100] ^= 1
    tissue = [m.copy() for m in masks]
    tissue[0][100, 100] ^= True
    moved = volumes()
    moved[1] = replace(moved[1], boxes=(replace(moved[1].boxes[0], x=10.6),))
    relabelled = [*volumes()[:2], replace(volumes()[2], label=Label.ACTIONABLE)]
    shaded = [*volumes()[:2], replace(volumes()[2], window=Window(0.0, 100.0))]
    variants = [
        (volumes(), pixel, masks, {}),
        (volumes(), arrays, tissue, {}),
        (moved, arrays, masks, {}),
        (relabelled, arrays, masks, {}),
        (shaded, arrays, masks, {}),
        (volumes()[::-1], arrays[::-1], masks[::-1], {}),
        (volumes(), arrays, masks, {"source": "other"}),
        (volumes(), arrays, masks, {"phantom": False}),
        (volumes(), arrays, masks, {"config": _Settings()}),
        (volumes(), arrays, masks, {"config": _Settings(side=2)}),
    ]
    digests = {
        write_dataset(tmp_path / str(i), v, a, m, **more).digest
        for i, (v, a, m, more) in enumerate(variants)
    }
    assert len(digests | {dataset.digest}) == len(variants) + 1


def test_numbers_that_are_equal_have_the_same_digest(dataset, tmp_path, arrays, masks):
    whole = [replace(v, boxes=tuple(replace(b, y=20.0) for b in v.boxes)) for v in volumes()]
    assert write_dataset(tmp_path / "b", whole, arrays, masks).digest == dataset.digest


def refused(root, match):
    with pytest.raises(DataError, match=match) as error:
        PreparedDataset.open(root)
    return error.value


def test_no_data_set_is_refused(tmp_path):
    assert "dbtssl data prepare" in refused(tmp_path, "no prepared data set").hint
    refused(tmp_path / "absent", "no prepared data set")


def test_a_data_set_that_was_not_finished_is_refused(dataset, tmp_path):
    (tmp_path / "dataset.json").unlink()
    refused(tmp_path, "there is no dataset.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}'])
def test_a_damaged_manifest_is_refused(dataset, tmp_path, text):
    (tmp_path / "dataset.json").write_text(text)
    refused(tmp_path, "dataset.json is damaged")


def test_another_format_is_refused(dataset, tmp_path):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    refused(tmp_path, "has format 99, this version reads format 1")


@pytest.mark.parametrize("name", ["volumes.parquet", "boxes.parquet"])
def test_a_missing_or_damaged_table_is_refused(dataset, tmp_path, name):
    (tmp_path / name).write_bytes(b"PAR1")
    refused(tmp_path, f"cannot read the table .*{name}")
    (tmp_path / name).unlink()
    refused(tmp_path, f"cannot read the table .*{name}")


def test_a_table_without_a_column_is_refused(dataset, tmp_path):
    path = tmp_path / "volumes.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["content", "view"]), path)
    refused(tmp_path, "lacks the columns view, content")


def test_a_table_of_another_data_set_is_refused(dataset, tmp_path):
    path = tmp_path / "volumes.parquet"
    pq.write_table(pq.read_table(path).slice(0, 2), path)
    refused(tmp_path, "the tables do not belong to dataset.json")


def test_a_missing_or_damaged_volume_is_refused(dataset, tmp_path):
    path = volume_path(tmp_path, dataset.cohort[0])
    whole = path.read_bytes()
    half = len(whole) // 8  # within the first slice
    for content in (
        b"",
        whole[:100],
        whole[:-100],
        whole[:half] + bytes(900) + whole[half + 900 :],
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"lcc\.b2nd is damaged"):
            dataset.slices([0]).read(SliceRef(0, 0))
    path.unlink()
    with pytest.raises(DataError, match=r"the prepared data set lacks .*lcc\.b2nd"):
        dataset.slices([0]).read(SliceRef(0, 0))


def test_a_volume_with_too_few_frames_is_not_written(tmp_path, arrays, masks):
    volume = replace(volumes()[0], n_slices=5, rows=200, columns=150)
    with pytest.raises(DataError, match=r"P1_S1_lcc\.b2nd: expected 5 frames, got 4"):
        write_volume(tmp_path, volume, arrays[0], lambda: masks[0])
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
