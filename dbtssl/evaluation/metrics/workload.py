"""How many normals could be left out while few positive patients are missed.

SIFT-DBT's claim, "filter out normals", made testable: all units below a score are left out, and a patient is missed if
all of her abnormal units lie below it. The score is chosen on the test set itself, so it is what could be, not what a
threshold from elsewhere gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dbtssl.evaluation.operating_points.points import below
from dbtssl.evaluation.operating_points.roc import CurveTable, curve_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.evaluation.operating_points.roc import Curves


class Workload(NamedTuple):
    """The share of normals that is left out, and the threshold: what does not lie above it is left out."""

    share: float
    threshold: float


def workload(
    abnormal: NDArray[np.bool_],
    scores: NDArray[np.float64],
    patients: NDArray[np.int64],
    missed: int,
) -> Workload:
    """At most ``missed`` positive patients missed, fewer than there are; both classes must be there."""
    highest = np.sort(scores[highest_abnormal(abnormal, scores, patients)])
    if missed >= len(highest):
        raise ValueError(f"{missed} missed of {len(highest)} positive patients")
    cut = float(highest[missed])
    return Workload(float((scores[~abnormal] < cut).mean()), below(scores, cut))


def workload_table(
    abnormal: NDArray[np.bool_], scores: NDArray[np.float64], patients: NDArray[np.int64]
) -> CurveTable:
    """The curve of all normals against one abnormal unit a positive patient, her highest."""
    kept = ~abnormal
    kept[highest_abnormal(abnormal, scores, patients)] = True
    return curve_table(abnormal, scores, patients, kept)


def left_out(c: Curves, missed: int) -> NDArray[np.float64]:
    """Share of normals left out on each curve of a `workload_table`, ``(D,)``; a patient drawn twice counts twice."""
    found = c.abnormal[:, 0::2]
    index = np.argmax(found >= found[:, -1:] - missed, axis=1)
    return np.asarray(1 - c.false_alarms[np.arange(len(index)), 2 * index], dtype=np.float64)


def highest_abnormal(
    abnormal: NDArray[np.bool_], scores: NDArray[np.float64], patients: NDArray[np.int64]
) -> NDArray[np.intp]:
    """Index of the highest abnormal unit of each positive patient."""
    index = np.flatnonzero(abnormal)
    order = index[np.lexsort((scores[index], patients[index]))]
    last = np.flatnonzero(np.diff(patients[order], append=patients[order][-1] + 1))
    return order[last]
