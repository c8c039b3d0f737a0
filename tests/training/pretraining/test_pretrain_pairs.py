from __future__ import annotations

import numpy as np
import pytest
import torch

from dbtssl.config import Config
from dbtssl.data.prepared.prepared_dataset import write_dataset
from dbtssl.data.records import Label, SliceRef, Volume
from dbtssl.interfaces import Crop, Photometry, ViewSpec
from dbtssl.training.pretraining.pairs import Order, Pairs, finish, loader, no_partner, step_seed

CROP = Crop(12, scale=(0.3, 1.0))
VIEWS = (
    ViewSpec("anchor", CROP, Photometry(brightness=0.4)),
    ViewSpec("positive", Crop(8, scale=(0.3, 1.0))),
)


class Other:
    """The positive is a slice of the next volume."""

    Config = Config
    crosses_patients = True

    def positive(self, anchor, cohort, rng):
        volume = (anchor.volume + 1) % len(cohort)
        return SliceRef(volume, int(rng.integers(cohort[volume].n_slices)))


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    """Volume ``i`` has ``i + 2`` slices; slice ``z`` of it has the grey level ``100 * i + 10 * z``."""
    views = ["lcc", "lmlo", "rcc", "lcc"]
    volumes = [
        Volume(f"P{i // 3}", "S", view, i + 2, 20, 20, Label.NORMAL) for i, view in enumerate(views)
    ]
    levels = [100 * i + 10 * np.arange(i + 2) for i in range(4)]
    arrays = [np.broadcast_to(x[:, None, None], (len(x), 20, 20)).astype(np.uint16) for x in levels]
    return write_dataset(tmp_path_factory.mktemp("pairs"), volumes, arrays).slices(range(4))


@pytest.fixture
def pairs(slices):
    return Pairs(slices, Other(), VIEWS, seed=5)


def test_shapes_ids_and_grey_levels(pairs):
    raw = pairs.__getitems__([(0, item) for item in range(8)])  # two slices of each volume
    assert [x.shape for x in raw["views"]] == [(8, 1, 12, 12), (8, 1, 8, 8)]
    assert raw["views"][0].dtype == torch.float32
    assert raw["tissue"][0].dtype == torch.bool
    assert raw["tissue"][0].all()
    assert raw["volume"][0].tolist() == [0, 1, 2, 3] * 2
    assert raw["volume"][1].tolist() == [1, 2, 3, 0] * 2
    assert (
        raw["breast"][0].tolist() == [0, 0, 1, 2] * 2
    )  # positions of a cohort: lcc and lmlo of P0
    assert raw["patient"][0].tolist() == [0, 0, 0, 1] * 2
    level = (raw["views"][0][:, 0, 5, 5] * 1023).round()
    z = (level - 100 * raw["volume"][0]) / 10
    assert torch.equal(z, z.round())
    assert (z >= 0).all()
    assert (z < raw["volume"][0] + 2).all()
    assert torch.equal(z.long(), raw["z"][0])


def test_the_size_of_a_pixel_is_that_of_the_crop(slices):
    """Wide crops of half the area: their pixels are as high and as wide as what they show, in slice heights."""
    half = Crop(10, scale=(0.5, 0.5), ratio=(2.0, 2.0), flip=0.0)
    views = (ViewSpec("anchor", half), ViewSpec("positive", half, same_crop_as=0))
    batch = finish(Pairs(slices, Other(), views, seed=5).__getitems__([(0, 0)]), views)
    for pixel in batch.pixel:
        assert pixel.tolist() == [pytest.approx([10 / (10 * 20), 20 / (10 * 20)])]


class OneInTwo:
    """The positive is the slice itself in volumes of an even position, else the next slice."""

    Config = Config

    def positive(self, anchor, cohort, rng):
        step = anchor.volume % 2
        return SliceRef(anchor.volume, (anchor.z + step) % cohort[anchor.volume].n_slices)

    def has_partner(self, volume, cohort):
        return cohort[volume].n_slices > 2


def test_pairs_of_a_slice_with_itself_are_told(slices, pairs):
    where = [(0, item) for item in range(8)]
    flags = Pairs(slices, OneInTwo(), VIEWS, seed=5).__getitems__(where)["same_slice"]
    assert flags.dtype == torch.float32
    assert flags.tolist() == [1, 0] * 4
    assert pairs.__getitems__(where)["same_slice"].tolist() == [0] * 8


def test_the_share_of_volumes_without_a_partner(slices):
    assert no_partner(OneInTwo(), slices.cohort) == {"no_partner": 0.25}
    assert no_partner(Other(), slices.cohort) == {}  # it has no has_partner


def test_anchors_are_uniform_over_a_volumes_slices(pairs):
    raw = pairs.__getitems__([(epoch, 3) for epoch in range(2000)])
    z = ((raw["views"][0][:, 0, 5, 5] * 1023).round() - 300) / 10
    counts = np.bincount(z.numpy().astype(int), minlength=5)
    assert np.abs(counts / 2000 - 0.2).max() < 0.04


def test_a_sample_depends_on_seed_epoch_and_item_alone(pairs, slices):
    where = [(1, 0), (1, 3), (2, 0)]
    together = pairs.__getitems__(where)
    for row, place in enumerate(where):
        alone = pairs.__getitems__([place])
        for key in ("views", "tissue", "volume", "seeds"):
            for a, b in zip(together[key], alone[key], strict=True):
                assert torch.equal(a[row], b[0])
    other = Pairs(slices, Other(), VIEWS, seed=6).__getitems__(where)
    assert not torch.equal(together["seeds"][0], other["seeds"][0])
    assert not torch.equal(together["seeds"][0], together["seeds"][1])


def test_views_may_be_of_any_shape(slices):
    views = (
        ViewSpec("anchor", Crop((12, 6)), Photometry(p_blur=1.0, noise=0.1)),
        ViewSpec("positive", Crop((5, 9))),
    )
    raw = Pairs(slices, Other(), views, seed=5).__getitems__([(0, item) for item in range(4)])
    assert [x.shape for x in raw["views"]] == [(4, 1, 12, 6), (4, 1, 5, 9)]
    assert [x.shape for x in finish(raw, views).tissue] == [(4, 1, 12, 6), (4, 1, 5, 9)]
    assert [x.shape for x in finish(raw, views).views] == [(4, 1, 12, 6), (4, 1, 5, 9)]


def test_photometry_touches_its_view_alone(pairs):
    raw = pairs.__getitems__([(0, item) for item in range(4)])
    batch = finish(raw, VIEWS)
    assert not torch.equal(batch.views[0], raw["views"][0])
    assert torch.equal(batch.views[1], raw["views"][1])
    assert torch.equal(batch.patient[1], raw["patient"][1])
    assert torch.equal(batch.seeds[1], raw["seeds"][1])


def test_an_epoch_is_a_permutation_without_its_last_partial_batch():
    order = Order(items=11, batch_size=4, epochs=3, seed=0)
    batches = list(order)
    assert len(batches) == len(order) == 6
    for epoch in range(3):
        shown = [item for batch in batches[2 * epoch : 2 * epoch + 2] for _, item in batch]
        assert len(set(shown)) == 8
        assert {e for batch in batches[2 * epoch : 2 * epoch + 2] for e, _ in batch} == {epoch}
    assert batches[0] != [(0, item) for _, item in batches[2]]


@pytest.mark.parametrize("start", [0, 1, 2, 3, 5, 6])
def test_an_order_can_start_anywhere(start):
    whole = list(Order(items=11, batch_size=4, epochs=3, seed=0))
    assert list(Order(items=11, batch_size=4, epochs=3, seed=0, start=start)) == whole[start:]


def test_ranks_share_each_batch():
    whole = list(Order(items=11, batch_size=4, epochs=2, seed=0))
    ranks = [list(Order(11, 4, 2, 0, rank=r, ranks=2)) for r in range(2)]
    assert [a + b for a, b in zip(*ranks, strict=True)] == whole


def test_workers_make_equal_batches(pairs):
    order = Order(items=8, batch_size=3, epochs=3, seed=0)
    alone = list(loader(pairs, order, workers=0, pin=False))
    helped = list(loader(pairs, order, workers=2, pin=False))
    assert len(alone) == len(helped) == 6
    for a, b in zip(alone, helped, strict=True):
        for key in a:
            assert all(torch.equal(x, y) for x, y in zip(a[key], b[key], strict=True))


def test_every_step_and_rank_has_its_own_seed():
    seeds = {step_seed(s, r, t) for s in range(3) for r in range(3) for t in range(50)}
    assert len(seeds) == 450
    assert min(seeds) >= 0
