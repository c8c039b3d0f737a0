"""Units that are scored: slices and volumes with one score each, made from the logits of patches."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dbtssl.data.records import Label
from dbtssl.errors import ConfigError, DataError
from dbtssl.interfaces import Groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.evaluation.predictions import Predictions
    from dbtssl.interfaces import Aggregator, Level


@dataclass(frozen=True)
class ScoreSet:
    """One score for each unit of a level: unit ids, integer ids of patients, labels and scores, all ``(n,)``."""

    level: Level
    ids: tuple[str, ...]
    patients: NDArray[np.int64]
    abnormal: NDArray[np.bool_]
    scores: NDArray[np.float64]

    @property
    def evaluation_set(self) -> str:
        """SHA-256 of the sorted (id, label) pairs, in hex: equal for rows that may be ranked together."""
        lines = sorted(f"{i}\t{int(a)}\n" for i, a in zip(self.ids, self.abnormal, strict=True))
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def first_patches(p: Predictions, patches: int) -> Groups:
    """The first ``patches`` logits of every slice; `DataError` where a slice has fewer."""
    if patches < 1:
        raise ConfigError(f"patches: got {patches}, expected 1 or more", hint="set predict.patches")
    sizes = np.diff(p.offsets)
    if (sizes < patches).any():
        i = int(np.argmax(sizes < patches))
        raise DataError(
            f"slice {p.z[i]} of volume {p.volumes[p.volume[i]]} has {sizes[i]} patches, {patches} are asked for",
            hint=f"predict again with predict.patches={patches}, or score with patches={sizes.min()}",
        )
    index = (p.offsets[:-1, None] + np.arange(patches)).ravel()
    return Groups(p.logits[index], np.arange(len(sizes) + 1, dtype=np.int64) * patches)


def slice_set(p: Predictions, scores: NDArray[np.float64]) -> ScoreSet:
    """Scores ``(S,)`` of all slices with their ids, patients and labels."""
    ids = tuple(f"{p.volumes[v]}:{z:04d}" for v, z in zip(p.volume, p.z, strict=True))
    return ScoreSet("slice", ids, _codes(p.patients)[p.volume], p.abnormal, scores)


def volume_set(p: Predictions, scores: NDArray[np.float64]) -> ScoreSet:
    """Scores ``(V,)`` of all volumes; a volume is abnormal if it was biopsied, benign or cancer."""
    return ScoreSet("volume", p.volumes, _codes(p.patients), p.labels >= Label.BENIGN, scores)


def score_sets(
    p: Predictions,
    slice_aggregator: Aggregator,
    volume_aggregator: Aggregator,
    patches: int | None = None,
) -> tuple[ScoreSet, ScoreSet]:
    """Slice scores from the first ``patches`` logits (None: all of them), and volume scores from slice scores.

    `ConfigError` where an aggregator works at another level or on features; `DataError` where it gives anything but
    one finite score for each group.
    """
    groups = Groups(p.logits, p.offsets) if patches is None else first_patches(p, patches)
    of_slices = _apply(slice_aggregator, groups, "slice")
    of_volumes = _apply(volume_aggregator, Groups(of_slices, p.volume_offsets), "volume")
    return slice_set(p, of_slices), volume_set(p, of_volumes)


def _apply(aggregator: Aggregator, groups: Groups, level: Level) -> NDArray[np.float64]:
    name = type(aggregator).__name__
    if aggregator.level not in ("any", level):
        raise ConfigError(
            f"aggregator {name} works at level {aggregator.level}, not {level}",
            hint="`dbtssl plugins` lists the aggregators",
        )
    if aggregator.needs != "logits":
        raise ConfigError(
            f"aggregator {name} needs {aggregator.needs}; predictions hold logits",
            hint="choose an aggregator of logits",
        )
    scores = np.asarray(aggregator(groups), dtype=np.float64)
    if scores.shape != (len(groups),):
        raise DataError(
            f"aggregator {name} gave shape {scores.shape}, expected one score a {level}: ({len(groups)},)"
        )
    if not np.isfinite(scores).all():
        raise DataError(f"aggregator {name} gave scores of {level}s that are not finite")
    return scores


def _codes(names: tuple[str, ...]) -> NDArray[np.int64]:
    """Integer ids 0 .. K - 1 in order of the names."""
    return np.unique(np.array(names, dtype=np.str_), return_inverse=True)[1].astype(np.int64)
