"""Rows that no image is needed for: what metadata alone, or no information at all, would score.

A method must beat them. On SIFT-DBT's test split, fewer volumes in the study alone gives a volume AUC of 1.000, and
more frames (a thicker breast) 0.68: biopsied studies of BCS-DBT hold only the views that carry a box. Slices near the
middle of the stack are where lesions are annotated.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from dbtssl.evaluation.aggregation.apply import with_volume_scores
from dbtssl.evaluation.catalogue import METRICS
from dbtssl.evaluation.values import Row, Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from dbtssl.evaluation.predictions.prediction_table import Predictions
    from dbtssl.evaluation.score_set import ScoreSet

ALL_NORMAL, BY_STUDY, BY_DEPTH = "all-normal", "volumes in the study", "depth in the stack"
USUAL_DEPTH = (
    0.43  # slice over slices: the median of the 224 published boxes of BCS-DBT's training set
)


class Shortcut(Protocol):
    """What says which study each volume is of."""

    @property
    def patients(self) -> tuple[str, ...]:
        """One a volume."""
        ...

    @property
    def studies(self) -> tuple[str, ...]:
        """One a volume."""
        ...


def fewer_volumes(p: Shortcut) -> NDArray[np.float64]:
    """Minus the number of volumes in the study, one a volume."""
    studies = list(zip(p.patients, p.studies, strict=True))
    count = Counter(studies)
    return -np.array([count[s] for s in studies], dtype=np.float64)


def more_frames(p: Predictions) -> NDArray[np.float64]:
    """The number of frames, one a volume."""
    return p.n_slices.astype(np.float64)


def near_usual_depth(depth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minus the distance of each slice's depth from `USUAL_DEPTH`, one a slice."""
    return -np.abs(depth - USUAL_DEPTH)


SHORTCUTS: dict[str, Callable[[Predictions], NDArray[np.float64]]] = {
    BY_STUDY: fewer_volumes,
    "frames in the volume": more_frames,
}


def shortcut_sets(p: Predictions, *sets: ScoreSet) -> dict[str, tuple[ScoreSet, ...]]:
    """The same units with each shortcut's scores: a slice has its volume's, breasts and patients their highest.

    Where the studies are not known, their volumes cannot be counted. The depth is one of slices alone, which are the
    first of ``sets``.
    """
    of_volumes = {
        name: with_volume_scores(sets, p, shortcut(p))
        for name, shortcut in SHORTCUTS.items()
        if all(p.studies) or shortcut is not fewer_volumes
    }
    slices = sets[0]
    assert slices.depth is not None, "the first are slices"
    return of_volumes | {BY_DEPTH: (replace(slices, scores=near_usual_depth(slices.depth)),)}


def all_normal(method: Row) -> Row:
    """The rule that calls everything normal, on the set of ``method``: its NPV is the fraction of normals."""
    if method.n_pos and method.n_neg:
        normals = method.n_neg / (method.n_neg + method.n_pos)
        known = {
            metric.name: metric.all_normal(normals)
            for metric in METRICS
            if metric.all_normal is not None and metric.is_of(method.level)
        }
        other = "a fixed rule has one operating point, sensitivity 0 %"
    else:
        known, other = {}, method.values["auc"].reason
    values = dict.fromkeys(method.values, Value(reason=other)) | {
        name: Value(value=value, reason="a fixed rule has no interval")
        for name, value in known.items()
    }
    return method.model_copy(
        update={
            "kind": "rule",
            "name": ALL_NORMAL,
            "values": values,
            "threshold": None,
            "tp": 0,
            "fp": 0,
            "tn": method.n_neg,
            "fn": method.n_pos,
            "attained": {},
            "cuts": {},
        }
    )
