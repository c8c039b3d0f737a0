"""Batches of pairs: which slice is when shown, and its views, from (seed, epoch, sample) alone.

Neither workers nor devices nor interruptions change a sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from dbtssl.data.records import SliceRef
from dbtssl.errors import DbtsslError
from dbtssl.interfaces import Batch, HasPartner
from dbtssl.interfaces.abilities import able
from dbtssl.interfaces.boundary import calling
from dbtssl.training.pretraining import contract_checks as promises
from dbtssl.views.crops import check_views, cut, draw_places, pixel_size
from dbtssl.views.photometry import photometry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dbtssl import interfaces
    from dbtssl.data.prepared.prepared_dataset import Slices
    from dbtssl.data.records import Cohort
    from dbtssl.interfaces import ViewSpec

# first word of every seed sequence, so that no two uses share random numbers
ORDER, SAMPLE, STEP = range(3)


class RawBatch(TypedDict):
    """A batch as a worker makes it: for each view its images, tissue, ids and seeds; photometry is still to come.

    ``same_slice`` is 1 for each pair whose positive is the anchor itself, else 0.
    """

    views: list[torch.Tensor]
    tissue: list[torch.Tensor]
    volume: list[torch.Tensor]
    breast: list[torch.Tensor]
    patient: list[torch.Tensor]
    z: list[torch.Tensor]
    pixel: list[torch.Tensor]
    seeds: list[torch.Tensor]
    same_slice: torch.Tensor


@dataclass(frozen=True)
class Pairs(Dataset[RawBatch]):
    """Views of anchor slices and their positives; item ``i`` is a random slice of volume ``i % volumes``."""

    slices: Slices
    sampler: interfaces.Sampler
    views: tuple[ViewSpec, ...]
    seed: int

    def __post_init__(self) -> None:
        check_views(self.views)

    def __getitems__(self, where: Sequence[tuple[int, int]]) -> RawBatch:
        """The batch of samples ``where``, each (epoch, item)."""
        n, cohort = len(where), self.slices.cohort
        shapes = [view.crop.shape for view in self.views]
        images = [np.empty((n, 1, *shape), dtype=np.float32) for shape in shapes]
        tissue = [np.empty((n, 1, *shape), dtype=np.bool_) for shape in shapes]
        volume = np.empty((len(shapes), n), dtype=np.int64)
        z = np.empty((len(shapes), n), dtype=np.int64)
        pixel = np.empty((len(shapes), n, 2), dtype=np.float32)
        seeds = np.empty((len(shapes), n), dtype=np.int64)
        same_slice = np.empty(n, dtype=np.float32)
        for row, (epoch, item) in enumerate(where):
            rng = np.random.default_rng([SAMPLE, self.seed, epoch, item])
            at = item % len(cohort)
            anchor = SliceRef(at, int(rng.integers(cohort[at].n_slices)))
            positive = promises.positive(self.sampler, anchor, cohort, rng)
            same_slice[row] = positive == anchor
            places = draw_places(self.views, anchor, positive, self.slices, rng)
            for v, (view, place) in enumerate(zip(self.views, places, strict=True)):
                ref = anchor if view.of == "anchor" else positive
                images[v][row, 0], tissue[v][row, 0] = cut(place, shapes[v], ref, self.slices)
                volume[v, row], z[v, row] = ref.volume, ref.z
                pixel[v, row] = pixel_size(place, shapes[v], cohort[ref.volume].rows)
            seeds[:, row] = rng.integers(2**63, size=len(shapes))
        return {
            "views": [torch.from_numpy(x) for x in images],
            "tissue": [torch.from_numpy(x) for x in tissue],
            "volume": [torch.from_numpy(x) for x in volume],
            "breast": [torch.from_numpy(cohort.breast_ids[x]) for x in volume],
            "patient": [torch.from_numpy(cohort.patient_ids[x]) for x in volume],
            "z": [torch.from_numpy(x) for x in z],
            "pixel": [torch.from_numpy(x) for x in pixel],
            "seeds": [torch.from_numpy(x) for x in seeds],
            "same_slice": torch.from_numpy(same_slice),
        }


@dataclass(frozen=True)
class Order(Sampler[list[tuple[int, int]]]):
    """The batches of all epochs from step ``start`` on, as (epoch, item); this rank's share of each.

    Each epoch is a permutation of its ``items`` by (seed, epoch); the last partial batch is dropped.
    """

    items: int
    batch_size: int
    epochs: int
    seed: int
    start: int = 0
    rank: int = 0
    ranks: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.items // self.batch_size

    def __len__(self) -> int:
        return self.epochs * self.steps_per_epoch - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        share = self.batch_size // self.ranks
        first, begin = divmod(self.start, self.steps_per_epoch)
        for epoch in range(first, self.epochs):
            order = np.random.default_rng([ORDER, self.seed, epoch]).permutation(self.items)
            for step in range(begin if epoch == first else 0, self.steps_per_epoch):
                low = step * self.batch_size + self.rank * share
                yield [(epoch, int(item)) for item in order[low : low + share]]


@dataclass(frozen=True)
class _Carried(Dataset[RawBatch | DbtsslError]):
    """Batches of a worker process, or the error that one had: torch would make a text of the error."""

    pairs: Pairs

    def __getitems__(self, where: Sequence[tuple[int, int]]) -> RawBatch | DbtsslError:
        try:
            return self.pairs.__getitems__(where)
        except DbtsslError as exc:
            return exc


def loader(pairs: Pairs, order: Order, workers: int, pin: bool) -> Iterator[RawBatch]:
    """The batches of ``order``; ``workers`` processes make them, or this one if 0."""
    batches: DataLoader[RawBatch | DbtsslError] = DataLoader(
        _Carried(pairs) if workers else pairs,
        batch_sampler=order,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pin,
    )
    for batch in batches:
        if isinstance(batch, DbtsslError):
            raise batch
        yield batch


def finish(raw: RawBatch, views: Sequence[ViewSpec]) -> Batch:
    """Apply the photometry and make the `Batch` that an objective sees; runs where the tensors are."""
    images = [
        photometry(x, view.photometry, seeds)
        for x, view, seeds in zip(raw["views"], views, raw["seeds"], strict=True)
    ]
    where = (tuple(raw[key]) for key in ("volume", "breast", "patient", "seeds", "z", "pixel"))
    return Batch(tuple(images), tuple(raw["tissue"]), *where)


def no_partner(sampler: interfaces.Sampler, cohort: Cohort) -> dict[str, float]:
    """Fraction of volumes for which ``sampler`` falls back, as ``no_partner``; empty where it is no `HasPartner`."""
    if not able(sampler, HasPartner):
        return {}
    with calling("sampler", f"has_partner in a cohort of {len(cohort)} volumes"):
        without = sum(not sampler.has_partner(volume, cohort) for volume in range(len(cohort)))
    return {"no_partner": without / len(cohort)}


def step_seed(seed: int, rank: int, step: int) -> int:
    """Seed of torch's generators in one step, so that no generator's state outlives a step."""
    words = np.random.SeedSequence([STEP, seed, rank, step])
    return int(words.generate_state(1, np.uint64)[0] >> 1)


def _as_it_is(batch: Any) -> Any:
    return batch
