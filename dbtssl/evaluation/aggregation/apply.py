"""Units that are scored: slices, volumes, breasts and patients with one score each, made from the logits of patches."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dbtssl.data.records import Label
from dbtssl.errors import ConfigError, PluginError
from dbtssl.evaluation.aggregation.checked_aggregator import broken_promise, of_level, scores_of
from dbtssl.evaluation.aggregation.simple import Max
from dbtssl.evaluation.predictions.selection import first_patches, patch_features
from dbtssl.evaluation.score_set import ScoreSet, codes
from dbtssl.interfaces import Groups
from dbtssl.interfaces.boundary import refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dbtssl.evaluation.predictions.prediction_table import Predictions
    from dbtssl.interfaces import Aggregator, Level


def slice_groups(p: Predictions, patches: int | None = None) -> Groups:
    """The patches of every slice: the first ``patches``, or all of them."""
    if patches is None:
        return Groups(p.logits, p.offsets, patch_features(p))
    return first_patches(p, patches)


def volume_groups(p: Predictions, of_slices: NDArray[np.float64]) -> Groups:
    """The slices of every volume in order of z with their scores ``(S,)``; their features are their patches' mean."""
    features = p.features
    if features is not None and len(features) != len(p.z):
        means = np.add.reduceat(features, p.offsets[:-1]) / np.diff(p.offsets)[:, None]
        features = means.astype(np.float32)
    return Groups(of_slices, p.volume_offsets, features)


def slice_set(p: Predictions, scores: NDArray[np.float64]) -> ScoreSet:
    """Scores ``(S,)`` of all slices with their ids, patients, labels and depths."""
    ids = tuple(f"{p.volumes[v]}:{z:04d}" for v, z in zip(p.volume, p.z, strict=True))
    depth = (p.z + 0.5) / p.n_slices[p.volume]
    return ScoreSet("slice", ids, codes(p.patients)[p.volume], p.abnormal, scores, depth)


def volume_set(p: Predictions, scores: NDArray[np.float64]) -> ScoreSet:
    """Scores ``(V,)`` of all volumes; a volume is abnormal if it was biopsied, benign or cancer."""
    return ScoreSet("volume", p.volumes, codes(p.patients), p.labels >= Label.BENIGN, scores)


def score_sets(
    p: Predictions,
    slice_aggregator: Aggregator,
    volume_aggregator: Aggregator,
    patches: int | None = None,
    breast_aggregator: Aggregator | None = None,
    patient_aggregator: Aggregator | None = None,
    failed: dict[Level, PluginError] | None = None,
) -> tuple[ScoreSet, ...]:
    """Slices, volumes, breasts and patients: slice scores from the first ``patches`` logits (None: all), volumes from
    slices, breasts and patients from volumes (by default the highest score).

    There are no breasts where the studies or the views are not known. `ConfigError` where an aggregator works at
    another level or needs features that were not stored; `PluginError` where it gives anything but one finite score
    for each group. Where ``failed`` is given it gets that error, by level, and the level is left out with those that
    are made of it; without slices there is nothing.
    """
    of_slices = apply(slice_aggregator, slice_groups(p, patches), "slice")
    slices = slice_set(p, of_slices)
    try:
        of_volumes = apply(volume_aggregator, volume_groups(p, of_slices), "volume")
    except PluginError as exc:
        if failed is None:
            raise
        breasts = all(p.studies) and all(p.views)
        levels: tuple[Level, ...] = ("volume", *(("breast",) if breasts else ()), "patient")
        failed |= dict.fromkeys(levels, exc)
        return (slices,)
    volumes = volume_set(p, of_volumes)
    above = upper_sets(
        volumes, p.patients, p.studies, p.views, breast_aggregator, patient_aggregator, failed
    )
    return slices, volumes, *above


def upper_sets(
    volumes: ScoreSet,
    patients: Sequence[str],
    studies: Sequence[str],
    views: Sequence[str],
    breast_aggregator: Aggregator | None = None,
    patient_aggregator: Aggregator | None = None,
    failed: dict[Level, PluginError] | None = None,
) -> tuple[ScoreSet, ...]:
    """Breasts (a side in a study; none where study or view is empty) and patients, from the scores of volumes.

    Each is abnormal if one of its volumes is. ``failed`` is as in `score_sets`.
    """
    levels: list[tuple[Level, list[str], Aggregator]] = []
    if all(studies) and all(views):
        sides = zip(patients, studies, views, strict=True)
        names = [f"{patient}_{study}_{view[0]}" for patient, study, view in sides]
        levels.append(("breast", names, breast_aggregator or Max()))
    levels.append(("patient", list(patients), patient_aggregator or Max()))
    sets = []
    for level, names, aggregator in levels:
        try:
            sets.append(_joined(volumes, names, level, aggregator))
        except PluginError as exc:
            if failed is None:
                raise
            failed[level] = exc
    return tuple(sets)


def with_volume_scores(
    sets: Sequence[ScoreSet], p: Predictions, scores: NDArray[np.float64]
) -> tuple[ScoreSet, ...]:
    """The units of ``sets`` with scores of volumes ``(V,)``: slices have their volume's, others the highest."""
    slices = replace(sets[0], scores=scores[p.volume])
    volumes = volume_set(p, scores)
    return slices, volumes, *upper_sets(volumes, p.patients, p.studies, p.views)


def apply(aggregator: Aggregator, groups: Groups, level: Level) -> NDArray[np.float64]:
    """One score a group, checked."""
    name = type(aggregator).__name__
    if aggregator.level not in ("any", level):
        raise ConfigError(
            f"aggregator {name} works at level {aggregator.level}, not {level}",
            hint="`dbtssl plugins` lists the aggregators",
        )
    if aggregator.needs == "features" and groups.features is None:
        raise ConfigError(
            f"aggregator {name} needs features; predictions hold logits alone for a {level}",
            hint="predict again with this aggregator in the specification, or choose an aggregator of logits",
        )
    if wrong := broken_promise(aggregator):
        raise refused(of_level(level), f"aggregator {name}: {wrong[0]}", wrong[1])
    return scores_of(aggregator, groups, level)


def _joined(volumes: ScoreSet, names: list[str], level: Level, aggregator: Aggregator) -> ScoreSet:
    ids, code = np.unique(np.array(names, dtype=np.str_), return_inverse=True)
    order = np.argsort(code, kind="stable")
    offsets = np.searchsorted(code[order], np.arange(len(ids) + 1)).astype(np.int64)
    scores = apply(aggregator, Groups(volumes.scores[order], offsets), level)
    first = order[offsets[:-1]]
    abnormal = np.logical_or.reduceat(volumes.abnormal[order], offsets[:-1])
    return ScoreSet(level, tuple(ids.tolist()), volumes.patients[first], abnormal, scores)
