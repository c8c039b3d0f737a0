from __future__ import annotations

import inspect

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from dbtssl.data.records import SliceRef
from dbtssl.errors import ConfigError, PluginError
from dbtssl.evaluation.predictions.prediction_table import SCHEMA, PredictionInfo, parse_predictions
from dbtssl.inference.predict import patch_outputs, predict, single_device
from dbtssl.interfaces import Labelled
from dbtssl.patches.fixed_patches import FixedPatches, GridPatches, read_patches, slices_scored
from dbtssl.patches.patch_rule import PatchRule, grid_corners
from dbtssl.testing.toy_slices import toy_labelled

RULE = PatchRule(24)


class Network(nn.Module):
    """A convolution, batch normalisation and a mean: enough to tell modes and batches apart."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 5), nn.BatchNorm2d(4), nn.ReLU())

    def forward(self, x):
        return self.layers(x).mean(dim=(1, 2, 3))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    return toy_labelled(tmp_path_factory.mktemp("toy"), patients=4, n_slices=5)


@pytest.fixture(scope="module")
def table(labelled):
    return predict(Network(), labelled, RULE, count=6, seed=1)


def test_one_row_a_slice_with_what_the_records_say(labelled, table):
    assert table.schema.equals(SCHEMA)
    cohort = labelled.slices.cohort
    rows = table.to_pylist()
    assert [(r["volume"], r["z"]) for r in rows] == [(v.id, z) for v in cohort for z in range(5)]
    by_id = {v.id: v for v in cohort}
    for row in rows:
        volume = by_id[row["volume"]]
        assert row["patient"] == volume.patient
        assert row["study"] == volume.study
        assert row["view"] == volume.view
        assert row["label"] == volume.label
        assert row["n_slices"] == volume.n_slices
        assert (row["rows"], row["columns"]) == (volume.rows, volume.columns)
        assert [(b["x"], b["y"], b["label"]) for b in row["boxes"]] == [
            (b.x, b.y, b.label) for b in volume.boxes if b.z == row["z"]
        ]
    assert sum(len(r["boxes"]) for r in rows) == 2
    expected = [bool(a) for labels in labelled.abnormal for a in labels]
    assert [r["abnormal"] for r in rows] == expected
    assert any(expected)
    assert table.schema.metadata == {
        b"schema": b"2",
        b"split": b"",
        b"inference": b"random",
        b"phantom": b"false",
        b"patch_size": b"24",
        b"min_tissue": b"0.01",
        b"count": b"6",
        b"seed": b"1",
    }


def test_each_logit_is_the_networks_on_that_patch(labelled, table):
    model = Network().eval()
    ids = [v.id for v in labelled.slices.cohort]
    for row in table.to_pylist()[::7]:
        pixels = labelled.slices.read(SliceRef(ids.index(row["volume"]), row["z"]))
        for logit, y, x in zip(row["logits"], row["y"], row["x"], strict=True):
            patch = torch.from_numpy(pixels[y : y + 24, x : x + 24].copy())
            with torch.inference_mode():
                assert model(patch[None, None]).item() == pytest.approx(logit, abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batch_size_does_not_matter(labelled, table, batch_size):
    other = predict(Network(), labelled, RULE, count=6, seed=1, batch_size=batch_size)
    assert_same(other, table)


def test_the_default_batch_is_bounded_in_pixels(labelled, monkeypatch):
    sizes = []

    class Recorder(Network):
        def forward(self, x):
            sizes.append(len(x))
            return super().forward(x)

    monkeypatch.setattr("dbtssl.inference.predict.BATCH_PIXELS", 15 * 24 * 24)
    predict(Recorder(), labelled, RULE, count=6)
    assert sizes == [12] * 10  # two slices of six patches
    sizes.clear()
    predict(Recorder(), labelled, RULE, count=20)
    assert sizes == [15, 5] * 20  # a slice has more patches than a batch


def test_loader_workers_do_not_matter(labelled, table):
    assert_same(predict(Network(), labelled, RULE, count=6, seed=1, workers=1), table)


def test_the_order_of_volumes_does_not_matter(labelled, table):
    order = [2, 0, 3, 1]
    slices = type(labelled.slices)(
        labelled.slices.root, type(labelled.slices.cohort)(labelled.slices.cohort[i] for i in order)
    )
    turned = Labelled(slices, tuple(labelled.abnormal[i] for i in order))
    other = predict(Network(), turned, RULE, count=6, seed=1)
    keys = [("volume", "ascending"), ("z", "ascending")]
    assert_same(other.sort_by(keys), table.sort_by(keys))


def test_fewer_patches_are_the_first_of_more(labelled, table):
    few = predict(Network(), labelled, RULE, count=2, seed=1)
    assert_same(few, pa.table({name: _first(table[name], 2) for name in table.column_names}))


def test_labels_and_boxes_do_not_move_the_patches(labelled, table):
    """The same tissue rule for both classes: no patch is placed with the box of a lesion."""
    swapped = Labelled(labelled.slices, tuple(~a for a in labelled.abnormal))
    other = predict(Network(), swapped, RULE, count=6, seed=1)
    assert other["y"] == table["y"]
    assert other["x"] == table["x"]
    assert other["logits"] == table["logits"]


def test_the_model_is_scored_in_evaluation_mode_and_unchanged(labelled):
    model = Network().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    predict(model, labelled, RULE, count=1)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_the_global_random_state_is_left_alone(labelled):
    model = Network()
    before = torch.random.get_rng_state()
    predict(model, labelled, RULE, count=1)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("count", [1, 2, 40])
def test_patches_cut_from_one_read_are_those_read_alone(labelled, count):
    """Few patches are read singly, many at once; also beyond the edge of a slice smaller than the patch."""
    rule = PatchRule(90)  # the slices have 96 x 80 pixels
    patches = FixedPatches(labelled.slices, rule, count=count, seed=0)
    for index in (0, 7):
        ref, corners = patches.refs[index], patches.corners[index]
        assert (corners[:, 1] == 0).all()
        together = read_patches(labelled.slices, ref, corners, rule)
        for patch, (y, x) in zip(together, corners.tolist(), strict=True):
            np.testing.assert_array_equal(patch[0], labelled.slices.read(ref, rule.rect(y, x)))


def test_no_pixel_is_read_twice(labelled, monkeypatch):
    """Reading never costs more pixels than the patches have, nor than the rectangle round them has."""
    read = []
    slices = labelled.slices
    whole = slices.read
    monkeypatch.setattr(
        slices,
        "read",
        lambda ref, rect: (
            read.append((rect.y1 - rect.y0) * (rect.x1 - rect.x0)) or whole(ref, rect)
        ),
    )
    corners = np.array([[0, 0], [70, 50]], dtype=np.int32)
    read_patches(slices, SliceRef(0, 0), corners, PatchRule(8))
    assert sum(read) == 2 * 64
    read.clear()
    read_patches(slices, SliceRef(0, 0), np.repeat(corners, 60, axis=0), PatchRule(8))
    assert sum(read) == 78 * 58


def test_an_empty_cohort_gives_an_empty_table(labelled):
    empty = Labelled(
        type(labelled.slices)(labelled.slices.root, type(labelled.slices.cohort)([])), ()
    )
    assert predict(Network(), empty, RULE).num_rows == 0


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="abacus") as caught:
        single_device("abacus")
    assert "cpu" in caught.value.hint


def test_the_signature_names_no_split():
    assert not {"train", "val", "test"} & set(inspect.signature(predict).parameters)


def assert_same(a, b):
    for name in SCHEMA.names:
        if name == "logits":
            np.testing.assert_allclose(_flat(a, name), _flat(b, name), atol=1e-6)
        else:
            assert a[name].to_pylist() == b[name].to_pylist()


def _flat(table, name):
    return np.concatenate(table[name].to_pylist())


def _first(column, n):
    values = column.to_pylist()
    return [v[:n] for v in values] if isinstance(values[0], list) else values


class Encoded(nn.Module):
    """A classifier with an encoder of four features."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 4, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.head = nn.Linear(4, 1)

    def forward(self, x):
        return self.head(self.encoder(x)).squeeze(1)


def test_the_lattice_is_scored_patch_by_patch(labelled):
    table = predict(Network(), labelled, RULE, inference="grid", overlap=0.25)
    assert table.schema.metadata[b"inference"] == b"grid"
    assert table.schema.metadata[b"overlap"] == b"0.25"
    assert b"count" not in table.schema.metadata
    model = Network().eval()
    ids = [v.id for v in labelled.slices.cohort]
    for row in table.to_pylist()[::7]:
        index = ids.index(row["volume"])
        corners = grid_corners(24, labelled.slices.tissue(index), 0.25)
        assert list(zip(row["y"], row["x"], strict=True)) == [tuple(c) for c in corners.tolist()]
        pixels = labelled.slices.read(SliceRef(index, row["z"]))
        stack = np.stack([pixels[y : y + 24, x : x + 24] for y, x in corners])
        with torch.inference_mode():
            expected = model(torch.from_numpy(stack)[:, None]).numpy()
        np.testing.assert_allclose(row["logits"], expected, atol=1e-6)
    for options in ({"batch_size": 7}, {"workers": 1}):
        other = predict(Network(), labelled, RULE, inference="grid", overlap=0.25, **options)
        assert_same(other, table)


@pytest.mark.parametrize("options", [{"count": 3}, {"inference": "grid", "overlap": 0.25}])
def test_every_third_slice_is_scored_as_among_all_of_them(labelled, options):
    rows = {
        (row["volume"], row["z"]): row
        for row in predict(Network(), labelled, RULE, **options).to_pylist()
    }
    table = predict(Network(), labelled, RULE, every=3, **options)
    assert table.schema.metadata[b"every"] == b"3"
    some = {(row["volume"], row["z"]): row for row in table.to_pylist()}
    assert list(some) == [
        (v.id, z) for v in labelled.slices.cohort for z in range(1, v.n_slices, 3)
    ]
    for key, row in some.items():
        np.testing.assert_allclose(row.pop("logits"), rows[key].pop("logits"), atol=1e-6)
        assert row == rows[key]


def test_a_volume_of_fewer_slices_keeps_its_middle_one():
    assert list(slices_scored(2, 9)) == [0]
    assert list(slices_scored(5, 9)) == [2]
    assert list(slices_scored(9, 1)) == list(range(9))


def test_volumes_may_differ_in_patches(tmp_path):
    wide, narrow = (
        toy_labelled(tmp_path / str(c), shape=(96, c), patients=2, seed=c) for c in (80, 160)
    )
    sizes = [len(grid_corners(24, part.slices.tissue(0), 0.5)) for part in (wide, narrow)]
    assert sizes[0] != sizes[1]
    patches = GridPatches(narrow.slices, RULE, overlap=0.5)
    patches.corners[0] = patches.corners[0][:3]  # as a smaller breast would have
    sizes = [len(patches.corners[ref.volume]) for ref in patches.refs]
    patches.offsets = np.cumsum([0, *sizes])
    logits, features = patch_outputs(Encoded(), patches, features="slice", batch_size=10)
    alone, each = patch_outputs(Encoded(), patches, features="patch", batch_size=1)
    np.testing.assert_allclose(logits, alone, atol=1e-6)
    for i, (a, b) in enumerate(zip(patches.offsets[:-1], patches.offsets[1:], strict=True)):
        np.testing.assert_allclose(features[i], each[a:b].mean(axis=0), atol=1e-6)


def test_oracle_patches_of_abnormal_slices_alone(labelled, table):
    oracle = predict(Network(), labelled, RULE, inference="oracle", count=6, seed=1)
    assert oracle.schema.metadata[b"inference"] == b"oracle"
    by_id = {v.id: v for v in labelled.slices.cohort}
    moved = 0
    for row, blind in zip(oracle.to_pylist(), table.to_pylist(), strict=True):
        if not row["abnormal"]:
            assert row == blind
            continue
        box = by_id[row["volume"]].boxes[0]
        for y, x in zip(row["y"], row["x"], strict=True):
            assert y <= box.y <= y + 24 - box.height
            assert x <= box.x <= x + 24 - box.width
        moved += row["y"] != blind["y"]
    assert moved > 2


@pytest.mark.parametrize("of", ["patch", "slice"])
def test_features_are_what_the_encoder_gives(labelled, of):
    table = predict(Encoded(), labelled, RULE, count=3, features=of)
    assert table.schema.metadata[b"n_features"] == b"4"
    p = parse_predictions(table)
    assert p.features.shape == ((60, 4) if of == "patch" else (20, 4))
    model = Encoded()
    row = next(r for r in table.to_pylist() if r["volume"] == p.volumes[0] and r["z"] == 0)
    index = [v.id for v in labelled.slices.cohort].index(row["volume"])
    pixels = labelled.slices.read(SliceRef(index, 0))
    stack = np.stack(
        [pixels[y : y + 24, x : x + 24] for y, x in zip(row["y"], row["x"], strict=True)]
    )
    with torch.inference_mode():
        features = model.encoder(torch.from_numpy(stack)[:, None]).numpy()
    expected = features if of == "patch" else features.mean(axis=0, keepdims=True)
    np.testing.assert_allclose(p.features[: len(expected)], expected, atol=1e-3)  # half precision
    plain = predict(Encoded(), labelled, RULE, count=3)
    assert_same(plain, table)
    assert "features" not in plain.column_names


def test_a_classifier_without_an_encoder_has_no_features(labelled):
    with pytest.raises(PluginError, match="Network has no encoder"):
        predict(Network(), labelled, RULE, count=1, features="patch")


def test_what_is_predicted_is_what_evaluation_reads(labelled):
    p = parse_predictions(predict(Network(), labelled, RULE, count=2, split="test", phantom=True))
    assert p.made == PredictionInfo("test", "random", 24, 0, phantom=True, schema=2)
    for volume, boxes, shape in zip(p.volumes, p.boxes, p.shape, strict=True):
        own = next(v for v in labelled.slices.cohort if v.id == volume)
        assert boxes == own.boxes
        assert tuple(shape) == (own.rows, own.columns)
    assert p.places.shape == (40, 2)
