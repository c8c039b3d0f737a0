"""How many normals could be filtered out while few positive patients are missed.

SIFT-DBT's claim, "filter out normals", made testable: all units below a score are filtered out, and a patient is missed
if all of the patient's abnormal units lie below it. The score is chosen on the test set itself, so the result is an
upper bound, not what a threshold from other data gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dbtssl.evaluation.metrics.metric import Draws, Metric, Point, bootstrap
from dbtssl.evaluation.operating_points.points import below
from dbtssl.evaluation.operating_points.roc import CurveTable, curve_table
from dbtssl.evaluation.statistics.intervals import positive_patients

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.evaluation.metrics.metric import Case
    from dbtssl.evaluation.operating_points.roc import Curves
    from dbtssl.evaluation.score_set import ScoreSet

MISSED = (0, 1, 2)
"""Positive patients that may be missed while normals are filtered out."""

# In simulations the interval of `workload@0` held its mean in 0.77 of draws, of `workload@1` and `@2` in 0.93 and 0.96.
NO_LOWER = (
    "no draw of patients has one that lies lower than the lowest, so its spread says too little"
)


class Workload(NamedTuple):
    """The fraction of normals that is filtered out, and the threshold: what does not lie above it is filtered out."""

    share: float
    threshold: float


def workload(
    abnormal: NDArray[np.bool_],
    scores: NDArray[np.float64],
    patients: NDArray[np.int64],
    missed: int,
) -> Workload:
    """With at most ``missed`` positive patients missed, fewer than there are; both classes must be present."""
    highest = np.sort(scores[highest_abnormal(abnormal, scores, patients)])
    if missed >= len(highest):
        raise ValueError(f"{missed} missed of {len(highest)} positive patients")
    cut = float(highest[missed])
    return Workload(float((scores[~abnormal] < cut).mean()), below(scores, cut))


def workload_table(
    abnormal: NDArray[np.bool_], scores: NDArray[np.float64], patients: NDArray[np.int64]
) -> CurveTable:
    """The curve of all normals against one abnormal unit per positive patient, the highest."""
    kept = ~abnormal
    kept[highest_abnormal(abnormal, scores, patients)] = True
    return curve_table(abnormal, scores, patients, kept)


def left_out(c: Curves, missed: int) -> NDArray[np.float64]:
    """Fraction of normals below the cut on each curve of a `workload_table`, ``(D,)``; repeated patients repeat."""
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


def _metric(missed: int) -> Metric:
    def undefined(units: ScoreSet) -> str:
        count = positive_patients(units)
        return "" if missed < count else f"there are no more than {count} positive patients to miss"

    def point(case: Case) -> Point | None:
        return (
            None if undefined(case.units) else Point(None, workload(*case.arrays, missed).threshold)
        )

    plural = "" if missed == 1 else "s"
    return Metric(
        f"workload@{missed}",
        f"Workload@{missed}",
        f"share of normals below the score that misses at most {missed} positive patient{plural}",
        compute=bootstrap,
        interval="bootstrap",
        draws=Draws(
            lambda curves, _: left_out(curves, missed),
            table=workload_table,
            undefined=undefined,
            no_interval="" if missed else NO_LOWER,
        ),
        point=point,
    )


METRICS = tuple(map(_metric, MISSED))
