"""The metrics at the threshold that the protocol chooses: NPV, PPV, NR, AR and what follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbtssl.evaluation.metrics.metric import Metric
from dbtssl.evaluation.score_set import counts_at
from dbtssl.evaluation.statistics.clustered import logit_draws_interval, proportion_interval
from dbtssl.evaluation.statistics.intervals import (
    MIN_PATIENTS,
    drawn_value,
    positive_patients,
    too_few_patients,
)
from dbtssl.evaluation.values import Value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.evaluation.metrics.metric import Case
    from dbtssl.evaluation.score_set import ScoreSet


def rates(
    tp: NDArray[np.float64],
    fp: NDArray[np.float64],
    tn: NDArray[np.float64],
    fn: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    """All rates from counts ``(D,)``, weighted or not; nan if the denominator is 0."""
    n = tp + fp + tn + fn
    nr, ar, npv = _ratio(tn, tn + fp), _ratio(tp, tp + fn), _ratio(tn, tn + fn)
    return {
        "npv": npv,
        "ppv": _ratio(tp, tp + fp),
        "nr": nr,
        "ar": ar,
        "recall-rate": _ratio(tp + fp, n),
        "balanced-accuracy": (nr + ar) / 2,
        "npv-gain": npv - _ratio(tn + fp, n),
    }


def rate_draws(
    units: ScoreSet, thresholds: NDArray[np.float64], weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """All rates when patient p counts ``weights[d, p]`` times and the threshold is ``thresholds[d]``, ``(D,)`` each.

    With thresholds from draws of the validation patients this is the nested bootstrap: it includes the uncertainty of
    both splits. It is nan for a draw without a threshold.
    """
    return rates(*count_draws(units, thresholds, weights))


def count_draws(
    units: ScoreSet, thresholds: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], ...]:
    """Weighted counts tp, fp, tn, fn of the same draws, ``(D,)`` each, for a metric that combines them."""
    known = np.isfinite(thresholds)
    distinct, which = np.unique(thresholds[known], return_inverse=True)
    codes = np.unique(units.patients, return_inverse=True)[1]
    kept = weights[known]
    called, total = [], []
    for k in (units.abnormal, ~units.abnormal):
        bins = np.searchsorted(distinct, units.scores[k], side="left")
        table = np.bincount(
            bins * weights.shape[1] + codes[k], minlength=(len(distinct) + 1) * weights.shape[1]
        ).reshape(len(distinct) + 1, -1)
        below = np.cumsum(table, axis=0, dtype=np.float64)
        normal = below[which]  # called normal, draws x patients
        called.append(np.einsum("dp,dp->d", kept, normal))
        total.append(kept @ table.sum(axis=0))
    counts = total[0] - called[0], total[1] - called[1], called[1], called[0]
    out = np.full((len(counts), len(weights)), np.nan)
    out[:, known] = counts
    return tuple(out)


def rate_values(
    units: ScoreSet,
    threshold: float,
    confidence: float,
    draws: dict[str, NDArray[np.float64]] | None = None,
) -> dict[str, Value]:
    """All rates of ``score > threshold``; ``draws`` are those of the nested bootstrap, if the threshold was chosen.

    The interval of a fraction contains both that for a fixed threshold, Wilson's with the effective sample size, and
    that of the nested bootstrap, which says little if all draws are at 0 or 1. Degrees of freedom: patients with such a
    unit - 1; for NPV, whose errors are all of positive patients, at most positive patients - 1; the same for PPV, AR.
    """
    normal_called, normal = units.scores <= threshold, ~units.abnormal
    abnormal_called, level = ~normal_called, units.level
    few = positive_patients(units) - 1
    shares = {
        "npv": (normal, normal_called, f"{level}s called normal", few),
        "ppv": (units.abnormal, abnormal_called, f"{level}s called abnormal", few),
        "nr": (normal_called, normal, f"normal {level}s", None),
        "ar": (abnormal_called, units.abnormal, f"abnormal {level}s", few),
        "recall-rate": (abnormal_called, normal | units.abnormal, f"{level}s", None),
    }
    out = {}
    for name, (hit, among, what, df) in shares.items():
        drawn = None if draws is None else draws[name]
        out[name] = _share(units.patients, hit & among, among, what, df, confidence, drawn)
    counts = counts_at(units.abnormal, units.scores, threshold)
    exact = rates(*(np.array([float(count)]) for count in counts))
    for metric in COMBINED:
        name = metric.name
        if np.isnan(exact[name][0]):
            out[name] = Value(reason=out["npv"].reason)
        elif draws is None:
            reason = too_few_patients(units) or "its interval needs draws of patients"
            out[name] = Value(value=float(exact[name][0]), reason=reason)
        else:
            out[name] = drawn_value(metric, float(exact[name][0]), draws[name], units, confidence)
    return out


def _share(
    patients: NDArray[np.int64],
    hit: NDArray[np.bool_],
    among: NDArray[np.bool_],
    what: str,
    df: int | None,
    confidence: float,
    draws: NDArray[np.float64] | None,
) -> Value:
    """Fraction of ``hit`` among ``among``; at most ``df`` degrees of freedom."""
    if not among.any():
        return Value(reason=f"there are no {what}")
    names, codes = np.unique(patients[among], return_inverse=True)
    of_patient = np.bincount(codes, minlength=len(names)).astype(np.float64)
    hits = np.bincount(codes, hit[among], minlength=len(names)).astype(np.float64)
    value = float(hits.sum() / of_patient.sum())
    freedom = len(names) - 1
    if df is not None and df < MIN_PATIENTS - 1:
        reason = f"interval needs {MIN_PATIENTS} positive patients, has {df + 1}"
        return Value(value=value, reason=reason)
    if freedom < MIN_PATIENTS - 1:
        reason = f"interval needs {MIN_PATIENTS} patients with {what}, has {len(names)}"
        return Value(value=value, reason=reason)
    freedom = freedom if df is None else min(freedom, df)
    low, high = proportion_interval(hits, of_patient, freedom, confidence)
    known = np.array([]) if draws is None else draws[np.isfinite(draws)]
    if len(known) > 1 and np.ptp(known) > 0:
        nested = logit_draws_interval(value, known, len(names), freedom, confidence)
        low, high = min(low, nested[0]), max(high, nested[1])
    return Value(value=value, low=low, high=high)


def _ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.full(np.shape(a), np.nan)
    np.divide(a, b, out=out, where=b > 0)
    return out


def _at_threshold(metric: Metric, case: Case) -> Value:
    """The rate at the threshold of the protocol; its interval draws the patients that it was chosen on as well."""
    if case.threshold is None:
        return Value(reason=case.choice.reason)
    return case.shared(_rates_of)[metric.name]


def _rates_of(case: Case) -> dict[str, Value]:
    assert case.threshold is not None
    draws = None
    if case.threshold_draws is not None and case.weights is not None:
        draws = rate_draws(case.units, case.threshold_draws, case.weights)
    return rate_values(case.units, case.threshold, case.protocol.confidence, draws)


# NPV runs from 99.5 to 100 % at a prevalence of 1 %, so one decimal would not distinguish two rows.
NPV = Metric(
    "npv",
    "NPV",
    "share of normals among those called normal",
    decimals=2,
    compute=_at_threshold,
    interval="wilson",
    all_normal=lambda normals: normals,
    default=True,
    keep=60,
)
NR = Metric(
    "nr",
    "NR",
    "normal recall: share of normals called normal (specificity)",
    compute=_at_threshold,
    interval="wilson",
    all_normal=lambda normals: 1.0,
    default=True,
    keep=55,
)
AR = Metric(
    "ar",
    "AR",
    "abnormal recall: share of abnormals called abnormal (sensitivity)",
    compute=_at_threshold,
    interval="wilson",
    all_normal=lambda normals: 0.0,
    default=True,
    keep=56,
)
PPV = Metric(
    "ppv",
    "PPV",
    "share of abnormals among those called abnormal",
    compute=_at_threshold,
    interval="wilson",
)
BALANCED_ACCURACY = Metric(
    "balanced-accuracy",
    "Balanced acc.",
    "mean of NR and AR",
    compute=_at_threshold,
    interval="bootstrap",
    all_normal=lambda normals: 0.5,
)
RECALL_RATE = Metric(
    "recall-rate",
    "Recall rate",
    "share of all units called abnormal",
    direction="",
    compute=_at_threshold,
    interval="wilson",
    all_normal=lambda normals: 0.0,
)
NPV_GAIN = Metric(
    "npv-gain",
    "NPV gain",
    "NPV minus that of calling everything normal",
    decimals=2,
    low=-1.0,
    compute=_at_threshold,
    interval="bootstrap",
    all_normal=lambda normals: 0.0,
)
COMBINED = (BALANCED_ACCURACY, NPV_GAIN)
METRICS = (NPV, NR, AR, PPV, BALANCED_ACCURACY, RECALL_RATE, NPV_GAIN)
