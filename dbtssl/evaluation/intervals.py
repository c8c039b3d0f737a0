"""A metric with its interval, or the reason in words why it has none."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dbtssl.evaluation.clustered import (
    clustered_covariance,
    logit_draws_interval,
    logit_t_interval,
    patient_draws,
    proportion_interval,
    specificity_draws,
)
from dbtssl.evaluation.metrics import SENSITIVITIES, placements
from dbtssl.evaluation.operating_points import specificity_at
from dbtssl.evaluation.values import Value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.evaluation.protocol import Protocol
    from dbtssl.evaluation.units import ScoreSet

# With 2 or 3 patients t has 1 or 2 degrees of freedom, and an interval runs from 0 to 100 %: it says nothing.
LEAST_PATIENTS = 4


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


def rate_values(units: ScoreSet, threshold: float, protocol: Protocol) -> dict[str, Value]:
    """NPV, NR and AR of ``score > threshold``, intervals for that threshold as it stands.

    Wilson with the effective sample size. Degrees of freedom: patients with such a unit - 1; for NPV, whose errors all
    come from them, at most positive patients - 1.
    """
    called_normal = units.scores <= threshold
    normal, level = ~units.abnormal, units.level
    share = partial(_share, units=units, confidence=protocol.confidence)
    df = positive_patients(units) - 1
    return {
        "npv": share(called_normal & normal, called_normal, f"{level}s called normal", df=df),
        "nr": share(called_normal & normal, normal, f"normal {level}s"),
        "ar": share(~called_normal & units.abnormal, units.abnormal, f"abnormal {level}s", df=df),
    }


def specificity_values(
    units: ScoreSet, protocol: Protocol
) -> tuple[dict[str, Value], dict[str, float]]:
    """SP@87 and SP@80, and the sensitivities that they attain.

    The stratified patient bootstrap redraws the ROC curve, so the interval holds the uncertainty of both classes; its
    spread on the logit scale, t with (positive patients - 1) degrees of freedom.
    """
    values, attained = {}, {}
    reason = too_few_patients(units)
    rule = protocol.specificity_rule
    normals = len(np.unique(units.patients[~units.abnormal]))
    weights = None if reason else patient_draws(units.abnormal, units.patients)
    for name, target in SENSITIVITIES.items():
        point = specificity_at(units.abnormal, units.scores, target, rule)
        value, attained[name] = point.specificity, point.sensitivity
        if weights is None:
            values[name] = Value(value=value, reason=reason)
            continue
        draws = specificity_draws(
            units.abnormal, units.scores, units.patients, weights, target, rule
        )
        if np.nanmin(draws) == np.nanmax(draws):
            values[name] = Value(value=value, reason="every draw of patients gives the same value")
            continue
        df = positive_patients(units) - 1
        low, high = logit_draws_interval(value, draws, normals, df, protocol.confidence)
        values[name] = Value(value=value, low=low, high=high)
    return values, attained


def positive_patients(units: ScoreSet) -> int:
    """Patients with an abnormal unit."""
    return len(np.unique(units.patients[units.abnormal]))


def too_few_patients(units: ScoreSet) -> str:
    """Why the variance between patients is not estimated; empty where it is."""
    if (count := positive_patients(units)) < LEAST_PATIENTS:
        return f"interval needs {LEAST_PATIENTS} positive patients, has {count}"
    if (count := len(np.unique(units.patients[~units.abnormal]))) < LEAST_PATIENTS:
        return f"interval needs {LEAST_PATIENTS} patients with normal {units.level}s, has {count}"
    return ""


def _share(
    hit: NDArray[np.bool_],
    among: NDArray[np.bool_],
    what: str,
    *,
    units: ScoreSet,
    confidence: float,
    df: int | None = None,
) -> Value:
    """Share of ``hit`` among ``among``; at most ``df`` degrees of freedom."""
    if not among.any():
        return Value(reason=f"there are no {what}")
    patients, codes = np.unique(units.patients[among], return_inverse=True)
    of_patient = np.bincount(codes, minlength=len(patients)).astype(np.float64)
    hits = np.bincount(codes, hit[among], minlength=len(patients)).astype(np.float64)
    value = float(hits.sum() / of_patient.sum())
    freedom = len(patients) - 1
    if df is not None and df < LEAST_PATIENTS - 1:
        reason = f"interval needs {LEAST_PATIENTS} positive patients, has {df + 1}"
        return Value(value=value, reason=reason)
    if freedom < LEAST_PATIENTS - 1:
        reason = f"interval needs {LEAST_PATIENTS} patients with {what}, has {len(patients)}"
        return Value(value=value, reason=reason)
    freedom = freedom if df is None else min(freedom, df)
    low, high = proportion_interval(hits, of_patient, freedom, confidence)
    return Value(value=value, low=low, high=high)
