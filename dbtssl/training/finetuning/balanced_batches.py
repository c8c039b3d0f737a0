"""Class-balanced batches of training patches; every random number comes from (seed, epoch, sample).

One patch a slice. In an abnormal slice it contains the box of the annotated slice nearest in z (SIFT-DBT, section 2.3;
in training only); where a volume has no box it follows the tissue rule, and so do normal ones, except the fraction that
lies where lesions do (`matched_places`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch.utils.data import Dataset, Sampler

from dbtssl.data.records import SliceRef
from dbtssl.errors import ConfigError, DataError
from dbtssl.patches.matched_patches import MatchedPlaces
from dbtssl.patches.patch_rule import PatchRule, Places, lesion_corner, places, random_corner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from dbtssl.interfaces import Labelled
    from dbtssl.training.finetuning.augmentation import LightAugment

_ORDER, _SAMPLE = 0, 1  # streams of random numbers


class Sample(NamedTuple):
    """Sample ``number`` of epoch ``epoch`` is the slice at ``position`` of the list of all training slices."""

    epoch: int
    number: int
    position: int


class Patch(NamedTuple):
    """One training patch ``(1, S, S)``, the numbers of its augmentation, and its label, 0 or 1."""

    pixels: NDArray[np.float32]
    drawn: NDArray[np.float32]
    abnormal: np.float32


def flat_labels(labelled: Labelled, what: str) -> NDArray[np.bool_]:
    """The labels of all slices in one array; both classes must be there and the lengths must fit the volumes."""
    cohort = labelled.slices.cohort
    expected = [v.n_slices for v in cohort]
    if [len(a) for a in labelled.abnormal] != expected:
        raise DataError(
            f"{what}: the labels do not fit the slices of the {len(cohort)} volumes",
            hint="abnormal[i] must hold one value for each slice of volume i",
        )
    labels = np.concatenate([*labelled.abnormal, np.zeros(0, dtype=np.bool_)])
    for wanted, word in ((True, "abnormal"), (False, "normal")):
        if not (labels == wanted).any():
            raise DataError(
                f"{what}: none of the {len(labels)} slices of {len(cohort)} volumes is {word}; fine-tuning needs both "
                "classes in training and in validation",
                hint="use more patients, or another split seed",
            )
    return labels


class BalancedBatches(Sampler[list[Sample]]):
    """Batches of `Sample`, for each of ``epochs``: half abnormal, half normal, exactly.

    Each class goes through shuffles of its slices, as many as an epoch needs: the smaller class is seen several times,
    of the larger one only a part. The released code draws with replacement, balanced in expectation only. Without
    ``steps`` an epoch has as many patches as there are slices, as released.
    """

    def __init__(
        self,
        abnormal: NDArray[np.bool_],
        *,
        batch_size: int,
        steps: int | None,
        epochs: range,
        seed: int,
    ) -> None:
        if batch_size < 2 or batch_size % 2:
            raise ConfigError(
                f"batch_size: got {batch_size}, expected an even number: half of each batch is abnormal"
            )
        self.classes = (np.flatnonzero(abnormal), np.flatnonzero(~abnormal))
        self.half = batch_size // 2
        self.steps = steps or -(-len(abnormal) // batch_size)
        self.epochs, self.seed = epochs, seed

    def __len__(self) -> int:
        return len(self.epochs) * self.steps

    def __iter__(self) -> Iterator[list[Sample]]:
        for epoch in self.epochs:
            rng = np.random.default_rng((self.seed, _ORDER, epoch))
            wanted = self.steps * self.half
            order = [_cycles(members, wanted, rng) for members in self.classes]
            both = np.concatenate([o.reshape(self.steps, self.half) for o in order], axis=1)
            for step, batch in enumerate(both.tolist()):
                start = step * len(batch)
                yield [Sample(epoch, start + k, i) for k, i in enumerate(batch)]


class TrainPatches(Dataset[Patch]):
    """Training patches; the key of an item is a `Sample`. The tissue of a volume is read at its first use."""

    def __init__(
        self,
        labelled: Labelled,
        rule: PatchRule,
        *,
        seed: int,
        augmentation: LightAugment,
        matched: float = 0.0,
    ) -> None:
        self.slices, self.rule, self.seed = labelled.slices, rule, seed
        self.augmentation = augmentation
        self.abnormal = flat_labels(labelled, "training")
        self.refs = [
            SliceRef(i, z) for i, v in enumerate(self.slices.cohort) for z in range(v.n_slices)
        ]
        self._places: dict[int, Places] = {}
        self.matched = matched
        self._as_lesions = MatchedPlaces(self.slices, labelled.abnormal) if matched else None

    def __len__(self) -> int:
        return len(self.refs)

    def __getitem__(self, sample: Sample) -> Patch:
        rng = np.random.default_rng((self.seed, _SAMPLE, sample.epoch, sample.number))
        ref, abnormal = self.refs[sample.position], self.abnormal[sample.position]
        if self._as_lesions and not abnormal and rng.random() < self.matched:
            ref, (y, x) = self._as_lesions.draw(ref.volume, self.rule.size, rng)
        else:
            y, x = self._corner(ref, bool(abnormal), rng)
        pixels = self.slices.read(ref, self.rule.rect(y, x))[None]
        return Patch(pixels, self.augmentation.draw(rng), np.float32(abnormal))

    def _corner(self, ref: SliceRef, abnormal: bool, rng: np.random.Generator) -> tuple[int, int]:
        volume = self.slices.cohort[ref.volume]
        if abnormal and volume.boxes:
            shape = (volume.rows, volume.columns)
            return lesion_corner(self.rule.size, volume.boxes, ref.z, shape, rng)
        if ref.volume not in self._places:
            self._places[ref.volume] = places(self.rule, self.slices.tissue(ref.volume))
        return random_corner(self._places[ref.volume], rng)


def _cycles(members: NDArray[np.int64], wanted: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``wanted`` of ``members``, shuffle after shuffle."""
    rounds: Sequence[NDArray[np.int64]] = [
        rng.permutation(members) for _ in range(-(-wanted // len(members)))
    ]
    return np.concatenate(rounds)[:wanted]
