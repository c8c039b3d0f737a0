"""A metric with its interval, or a text reason if it has none."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.stats import t as student

from dbtssl.errors import DataError
from dbtssl.evaluation.statistics.clustered import (
    clustered_covariance,
    logit_draws_interval,
    logit_t_interval,
)
from dbtssl.evaluation.statistics.placements import placements
from dbtssl.evaluation.values import Value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.evaluation.protocol import Protocol
    from dbtssl.evaluation.quantity import Quantity
    from dbtssl.evaluation.score_set import ScoreSet


# With 2 or 3 patients t has 1 or 2 degrees of freedom, and an interval runs from 0 to 100 %: it says nothing.
MIN_PATIENTS = 4
LARGEST = 1e150  # squares of what lies beyond overflow


def auc_value(units: ScoreSet, protocol: Protocol) -> Value:
    """AUC; Obuchowski's clustered variance, logit scale, t with (positive patients - 1) degrees of freedom."""
    auc = placements(units.abnormal, units.scores).auc
    if reason := too_few_patients(units):
        return Value(value=auc, reason=reason)
    if auc in (0.0, 1.0):
        return Value(
            value=auc, reason="the scores separate the classes completely, so their variance is 0"
        )
    _, covariance = clustered_covariance(units.abnormal, [units.scores], units.patients)
    variance = float(covariance[0, 0])
    if variance <= 0:
        return Value(value=auc, reason="the variance between patients is 0")
    df = positive_patients(units) - 1
    low, high = logit_t_interval(auc, variance, df, protocol.confidence)
    return Value(value=auc, low=low, high=high)


def drawn_value(
    metric: Quantity,
    value: float,
    draws: NDArray[np.float64],
    units: ScoreSet,
    confidence: float,
) -> Value:
    """``value`` with an interval from the standard deviation of its bootstrap ``draws``, t with positive patients - 1.

    Fractions are on the logit scale, other metrics on their own scale, cut at the metric's range.
    """
    known = draws[np.isfinite(draws)]
    if len(known) < 2 or np.ptp(known) == 0:
        return Value(value=value, reason="every draw of patients gives the same value")
    df = positive_patients(units) - 1
    if metric.unit == "percent" and metric.low == 0:
        patients = len(np.unique(units.patients[~units.abnormal]))
        low, high = logit_draws_interval(value, known, patients, df, confidence)
    else:
        half = student.ppf(0.5 + confidence / 2, df) * np.std(known, ddof=1)
        low, high = value - half, value + half
    low = low if metric.low is None else max(low, metric.low)
    high = high if metric.high is None else min(high, metric.high)
    return Value(value=value, low=float(low), high=float(high))


def estimated_value(estimate: Estimate, units: ScoreSet, confidence: float) -> Value:
    """``estimate`` with its interval, t with positive patients - 1."""
    if estimate.value is None or estimate.error is None:
        return Value(value=estimate.value, reason=estimate.reason)
    if reason := too_few_patients(units):
        return Value(value=estimate.value, reason=reason)
    half = student.ppf(0.5 + confidence / 2, positive_patients(units) - 1) * estimate.error
    return Value(
        value=estimate.value,
        low=float(estimate.value - half),
        high=float(estimate.value + half),
    )


def refuse_not_finite(units: ScoreSet, where: str) -> None:
    """`DataError` where a score is nan, infinite or beyond 1e150."""
    bad = ~(np.abs(units.scores) <= LARGEST)
    if bad.any():
        i = int(np.argmax(bad))
        raise DataError(
            f"{where}: {int(bad.sum())} scores of {units.level}s are not finite numbers, the first is "
            f"{units.scores[i]} of {units.ids[i]}",
            hint="predict again, or fix the table of scores",
        )


def positive_patients(units: ScoreSet) -> int:
    """Patients with an abnormal unit."""
    return len(np.unique(units.patients[units.abnormal]))


def too_few_patients(units: ScoreSet) -> str:
    """Why the variance between patients is not estimated; empty where it is."""
    if (count := positive_patients(units)) < MIN_PATIENTS:
        return f"interval needs {MIN_PATIENTS} positive patients, has {count}"
    if (count := len(np.unique(units.patients[~units.abnormal]))) < MIN_PATIENTS:
        return f"interval needs {MIN_PATIENTS} patients with normal {units.level}s, has {count}"
    return ""


class Estimate(NamedTuple):
    """A value and its standard error with patients as clusters; None where it has none, and why."""

    value: float | None
    error: float | None
    reason: str = ""
