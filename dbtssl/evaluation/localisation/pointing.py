"""Where it looked: does the highest slice lie at the lesion, the highest patch on it, and boxes find it.

A method that is right for the wrong reason scores high on volumes and no better than chance here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dbtssl.evaluation.localisation.boxes import FULL_ROWS, boxes_of
from dbtssl.evaluation.localisation.detection import PRIMARY, detection_values, match
from dbtssl.evaluation.score_set import codes
from dbtssl.evaluation.statistics.clustered import proportion_interval
from dbtssl.evaluation.statistics.intervals import MIN_PATIENTS
from dbtssl.evaluation.values import LocalisationResult, Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from dbtssl.data.records import Box
    from dbtssl.evaluation.predictions.prediction_table import Predictions
    from dbtssl.evaluation.protocol import Protocol

RULE = (
    "Slice hit: the highest slice of an abnormal volume lies within a quarter of its slices of an annotated one. "
    "Patch hit: on an annotated slice, the patch of the highest logit holds the centre of a box. Chance: the same for "
    "a slice or patch drawn at random. Detection: the official metric of DBTex on boxes made from the patches' scores "
    "(mean probability of the patches that cover a place, over nine slices; the highest places, half a patch apart or "
    "more)."
)


def looked(
    p: Predictions, of_slices: NDArray[np.float64], protocol: Protocol
) -> LocalisationResult | None:
    """All three for the abnormal volumes of ``p`` that have boxes; None where no volume has one.

    ``of_slices`` are the scores of slices ``(S,)``. Where the highest tie, each counts for its fraction.
    """
    boxed = [v for v, boxes in enumerate(p.boxes) if boxes]
    if not boxed:
        return None
    patients = codes(p.patients)
    hits, chances = _slice_hits(p, of_slices, boxed)
    reason = _no_patches(p, protocol)
    on, by_chance, of = ([], [], []) if reason else _patch_hits(p, boxed)
    return LocalisationResult(
        rule=RULE,
        n_volumes=len(boxed),
        n_slices=len(on),
        slice_hit=_share(hits, patients[boxed], protocol.confidence),
        slice_chance=float(np.mean(chances)),
        patch_hit=Value(reason=reason) if reason else _share(on, patients[of], protocol.confidence),
        patch_chance=None if reason else float(np.mean(by_chance)),
        detection={PRIMARY: Value(reason=reason)}
        if reason
        else dict(_detection(p, patients, protocol)),
    )


def _slice_hits(
    p: Predictions, of_slices: NDArray[np.float64], boxed: list[int]
) -> tuple[list[float], list[float]]:
    """For each volume whether its highest slice is near a box, and the fraction of its slices that are."""
    hits, chances = [], []
    for v in boxed:
        own = slice(*p.volume_offsets[v : v + 2])
        z = p.z[own]
        distance = np.min([np.abs(z - box.z) for box in p.boxes[v]], axis=0)
        near = distance <= p.n_slices[v] / 4
        hits.append(_highest(of_slices[own], near))
        chances.append(float(near.mean()))
    return hits, chances


def _patch_hits(p: Predictions, boxed: list[int]) -> tuple[list[float], list[float], list[int]]:
    """For each annotated slice whether its highest patch is on a box, the fraction of its patches that are, volume."""
    hits, chances, of = [], [], []
    size = p.made.patch_size
    assert size is not None
    assert p.places is not None
    for v in boxed:
        for i in range(*p.volume_offsets[v : v + 2]):
            here = [box for box in p.boxes[v] if box.z == p.z[i]]
            if not here:
                continue
            own = slice(p.offsets[i], p.offsets[i + 1])
            on = np.logical_or.reduce([_holds(p.places[own], size, box) for box in here])
            hits.append(_highest(p.logits[own], on))
            chances.append(float(on.mean()))
            of.append(v)
    return hits, chances, of


def _highest(scores: NDArray[np.float64], hit: NDArray[np.bool_]) -> float:
    """Whether the highest is a hit; the fraction of hits among those that tie."""
    return float(hit[scores == scores.max()].mean())


def _holds(places: NDArray[np.int64], size: int, box: Box) -> NDArray[np.bool_]:
    y, x = box.y + box.height / 2, box.x + box.width / 2
    down, right = y - places[:, 0], x - places[:, 1]
    return np.asarray((down >= 0) & (down < size) & (right >= 0) & (right < size), dtype=np.bool_)


def _detection(
    p: Predictions, patients: NDArray[np.int64], protocol: Protocol
) -> Mapping[str, Value]:
    scales = FULL_ROWS / p.shape[:, 0]
    boxes = [
        [_scaled(box, float(s)) for box in own] for own, s in zip(p.boxes, scales, strict=True)
    ]
    found = match(boxes, p.n_slices.tolist(), [boxes_of(p, v) for v in range(len(p.volumes))])
    return detection_values(found, patients, protocol.confidence)


def _scaled(box: Box, scale: float) -> Box:
    return replace(
        box,
        x=box.x * scale,
        y=box.y * scale,
        width=box.width * scale,
        height=box.height * scale,
    )


def _no_patches(p: Predictions, protocol: Protocol) -> str:
    """Why patches cannot be asked where they are; empty where they can."""
    if protocol.diagnostic or p.made.inference == "oracle":
        return "the patches were placed over the lesion"
    if p.places is None or p.made.patch_size is None or not p.shape.all():
        return "the predictions do not say where the patches lie (y, x, rows, columns, patch_size)"
    return ""


def _share(hits: list[float], patients: NDArray[np.int64], confidence: float) -> Value:
    """Fraction of hits, Wilson's interval with the effective sample size, patients as clusters."""
    if not hits:
        return Value(reason="no annotated slice is among the predictions")
    value = float(np.mean(hits))
    _, code = np.unique(patients, return_inverse=True)
    units = np.bincount(code).astype(np.float64)
    if len(units) < MIN_PATIENTS:
        return Value(
            value=value,
            reason=f"interval needs {MIN_PATIENTS} positive patients, has {len(units)}",
        )
    of_patient = np.bincount(code, hits).astype(np.float64)
    low, high = proportion_interval(of_patient, units, len(units) - 1, confidence)
    return Value(value=value, low=low, high=high)
