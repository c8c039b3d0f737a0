"""The official detection metric of DBTex and BCS-DBT, exactly, with weights for the patients of a bootstrap.

After Buda et al. 2021 and the organisers' code (mazurowski-lab/duke-dbt-data at 13f26fb), reimplemented: a prediction
hits a box if its centre lies within half the box's diagonal or 100 pixels, whichever is more, and within a quarter of
the volume's slices. A prediction that hits several takes the nearest. Several on one box count once and are no false
positives; all others are. The curve has a point for each score that is a hit, and is read by linear interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dbtssl.evaluation.statistics.clustered import logit_draws_interval, patient_draws
from dbtssl.evaluation.statistics.intervals import MIN_PATIENTS
from dbtssl.evaluation.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from dbtssl.data.records import Box

MIN_DISTANCE = 100.0  # pixels at full resolution
FALSE_POSITIVES = (1.0, 2.0, 3.0, 4.0)  # a volume
DRAWS = 500
PRIMARY, TIE_BREAK = "mean_sensitivity_positive", "sensitivity_at_2_fps_all"


@dataclass(frozen=True)
class Detection:
    """A box in a volume, in pixels at full resolution: its top-left corner, sides, first slice, and depth in slices."""

    x: float
    y: float
    width: float
    height: float
    z: float
    depth: float
    score: float


@dataclass(frozen=True)
class BoxMatches:
    """Detections matched with boxes. Of detection i: its volume and score, and the box that it hits or -1.

    ``of_box`` is the volume of each box; volumes are numbered 0 to ``n_volumes`` - 1.
    """

    volume: NDArray[np.int64]
    score: NDArray[np.float64]
    box: NDArray[np.int64]
    of_box: NDArray[np.int64]
    n_volumes: int

    def only(self, keep: NDArray[np.bool_]) -> BoxMatches:
        """The volumes of ``keep`` alone, renumbered; every box lies in one of them."""
        number = np.cumsum(keep) - 1
        here = keep[self.volume]
        return BoxMatches(
            number[self.volume[here]],
            self.score[here],
            self.box[here],
            number[self.of_box],
            int(keep.sum()),
        )


def match(
    boxes: Sequence[Sequence[Box]],
    n_slices: Sequence[int],
    detections: Sequence[Sequence[Detection]],
) -> BoxMatches:
    """Match the detections of each volume with its boxes; ``n_slices`` are its slices."""
    volume: list[int] = []
    score: list[float] = []
    hit: list[int] = []
    of_box: list[int] = []
    for v, (own, n, found) in enumerate(zip(boxes, n_slices, detections, strict=True)):
        first = len(of_box)
        of_box += [v] * len(own)
        for d in found:
            volume.append(v)
            score.append(d.score)
            hit.append(-1)
            nearest = np.inf
            for i, box in enumerate(own):
                across = (
                    d.x + d.width / 2 - box.x - box.width / 2,
                    d.y + d.height / 2 - box.y - box.height / 2,
                )
                along = d.z + d.depth / 2 - box.z
                flat = np.hypot(*across)
                if flat > max(np.hypot(box.width, box.height) / 2, MIN_DISTANCE):
                    continue
                distance = np.sqrt(across[0] ** 2 + across[1] ** 2 + along**2)
                if abs(along) <= n / 4 and distance < nearest:
                    nearest, hit[-1] = distance, first + i
    return BoxMatches(
        np.array(volume, dtype=np.int64),
        np.array(score, dtype=np.float64),
        np.array(hit, dtype=np.int64),
        np.array(of_box, dtype=np.int64),
        len(boxes),
    )


def sensitivities(
    found: BoxMatches, at: Sequence[float], weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Sensitivity at false positives a volume ``at``, ``(len(at),)``; ``weights`` counts each volume, ``(V,)``.

    0 without a detection. There is a box at least.
    """
    w = np.ones(found.n_volumes) if weights is None else weights
    counted = w[found.volume] > 0
    score, box, volume = found.score[counted], found.box[counted], found.volume[counted]
    if not len(score):
        return np.zeros(len(at))
    hit = box >= 0
    thresholds = np.sort(np.r_[score.max() + 1.0, score[hit], score.min() - 1.0])[::-1]
    best = np.full(len(found.of_box), -np.inf)
    np.maximum.at(best, box[hit], score[hit])
    true = _reach(best, w[found.of_box], thresholds) / w[found.of_box].sum()
    false = _reach(score[~hit], w[volume[~hit]], thresholds) / w.sum()
    over = np.flatnonzero(false > max(FALSE_POSITIVES))
    end = int(over[0]) + 1 if len(over) else len(thresholds)
    return np.asarray(np.interp(at, false[:end], true[:end]), dtype=np.float64)


def detection_metrics(found: BoxMatches) -> dict[str, float]:
    """The official numbers: on volumes with a box at 1, 2, 3 and 4 false positives and their mean; on all at 2."""
    positive = np.zeros(found.n_volumes, dtype=np.bool_)
    positive[found.of_box] = True
    of_positive = sensitivities(found.only(positive), FALSE_POSITIVES)
    names = [f"sensitivity_at_{at:g}_fps_positive" for at in FALSE_POSITIVES]
    return {
        TIE_BREAK: float(sensitivities(found, (2.0,))[0]),
        **dict(zip(names, of_positive.tolist(), strict=True)),
        PRIMARY: float(of_positive.mean()),
    }


def detection_values(
    found: BoxMatches, patients: NDArray[np.int64], confidence: float
) -> Mapping[str, Value]:
    """The same as values; the mean sensitivity with the interval of a patient bootstrap, logit scale, t.

    ``patients`` are integer ids, one a volume. `Value` with a reason where no volume has a box.
    """
    if not len(found.of_box):
        return {PRIMARY: Value(reason="no volume has a box")}
    values = {name: Value(value=value) for name, value in detection_metrics(found).items()}
    positive = np.zeros(found.n_volumes, dtype=np.bool_)
    positive[found.of_box] = True
    mean = values[PRIMARY].value
    _, codes = np.unique(patients[positive], return_inverse=True)
    count = int(codes.max()) + 1
    if count < MIN_PATIENTS:
        reason = f"interval needs {MIN_PATIENTS} positive patients, has {count}"
    else:
        part = found.only(positive)
        weights = patient_draws(np.ones(len(codes), dtype=np.bool_), codes, DRAWS)[:, codes]
        draws = np.array([sensitivities(part, FALSE_POSITIVES, w).mean() for w in weights])
        reason = "every draw of patients gives the same value" if np.ptp(draws) == 0 else ""
    if reason:
        return values | {PRIMARY: Value(value=mean, reason=reason)}
    assert mean is not None
    low, high = logit_draws_interval(mean, draws, count, count - 1, confidence)
    return values | {PRIMARY: Value(value=mean, low=low, high=high)}


def _reach(
    scores: NDArray[np.float64], weights: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Summed weight of the scores at or above each threshold."""
    order = np.argsort(scores)
    summed = np.r_[0.0, np.cumsum(weights[order])]
    below = np.searchsorted(scores[order], thresholds, side="left")
    reached: NDArray[np.float64] = summed[-1] - summed[below]
    return reached
