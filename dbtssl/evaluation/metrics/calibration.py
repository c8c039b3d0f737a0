"""How well the probabilities are calibrated, once the 1:1 resampling of training is undone.

The methods train on batches with as many abnormals as normals, so their logits are those of a prevalence of 1/2. At a
prevalence of 1 % a calibration error alone is worthless: a constant has the best one. So there are also the Brier score
with its skill, and the slope and intercept of logistic recalibration (Cox 1958; Van Calster et al. 2019).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import rankdata

from dbtssl.evaluation.metrics.metric import Metric
from dbtssl.evaluation.statistics.intervals import (
    Estimate,
    drawn_value,
    estimated_value,
    too_few_patients,
)
from dbtssl.evaluation.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from dbtssl.evaluation.metrics.metric import Case

TRAINED_AT = 0.5  # fraction of abnormals in training batches
BINS = 15
STEPS = 100  # of Newton's method; ten are enough unless the classes hardly overlap
LEAST_SPREAD = 1e-290  # of scores, so that a slope does not overflow


def undo_resampling(
    logits: NDArray[np.float64], prevalence: float, trained_at: float = TRAINED_AT
) -> NDArray[np.float64]:
    """Logits at ``prevalence`` from those of a model that was trained at another (Saerens et al. 2002)."""
    shift: float = logit(prevalence) - logit(trained_at)
    return logits + shift


def squared_errors(abnormal: NDArray[np.bool_], logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """(p - y)^2 of each unit; their mean is the Brier score."""
    return np.asarray(expit(np.where(abnormal, -logits, logits)) ** 2, dtype=np.float64)


def log_losses(abnormal: NDArray[np.bool_], logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Negative log-likelihood of each unit in nats, from logits, so that a confident mistake stays finite."""
    return np.logaddexp(0.0, np.where(abnormal, -logits, logits))


def equal_mass_error(abnormal: NDArray[np.bool_], logits: NDArray[np.float64]) -> float:
    """Mean |mean p - fraction of abnormals| over 15 bins of equally many units, ties in one bin, weighted by units."""
    n = len(logits)
    bins = np.minimum((rankdata(logits) - 0.5) * BINS / n, BINS - 1).astype(np.intp)
    gap = np.bincount(bins, expit(logits) - abnormal, minlength=BINS)
    return float(np.abs(gap).sum() / n)


def calibration_slope(
    abnormal: NDArray[np.bool_], logits: NDArray[np.float64], patients: NDArray[np.int64]
) -> Estimate:
    """b of logit P(abnormal) = a + b logit; both classes must be present.

    Maximum likelihood, sandwich error over patients. If a threshold separates the classes, b has no finite value.
    """
    x, y = logits[abnormal], logits[~abnormal]
    if np.ptp(logits) == 0:
        return Estimate(None, None, "all scores are equal")
    if x.min() >= y.max() or x.max() <= y.min():
        return Estimate(
            None, None, "the scores separate the classes completely, so it is not finite"
        )
    centre = logits.mean()
    scale = np.abs(logits - centre).mean()
    if scale < LEAST_SPREAD:
        return Estimate(None, None, "the scores differ by too little")
    design = np.stack([np.ones(len(logits)), (logits - centre) / scale], axis=1)
    beta = np.array([logit(abnormal.mean()), 0.0])
    loss = _loss(abnormal, design @ beta)
    for _ in range(STEPS):
        p = expit(design @ beta)
        gradient = design.T @ (abnormal - p)
        information = (design * (p * (1 - p))[:, None]).T @ design
        if np.linalg.cond(information) > 1e14:
            return Estimate(None, None, "the scores hardly overlap between the classes")
        step = np.linalg.solve(information, gradient)
        while (new := _loss(abnormal, design @ (beta + step))) > loss and np.abs(
            step
        ).max() > 1e-12:
            step = step / 2
        beta, loss = beta + step, new
        if np.abs(step).max() < 1e-10 * max(1.0, np.abs(beta).max()):
            break
    error = _sandwich(design, abnormal - expit(design @ beta), information, patients)
    return Estimate(float(beta[1] / scale), float(error[1] / scale))


def calibration_intercept(
    abnormal: NDArray[np.bool_], logits: NDArray[np.float64], patients: NDArray[np.int64]
) -> Estimate:
    """a of logit P(abnormal) = a + logit (calibration in the large): 0 if the mean probability is the prevalence."""
    total = abnormal.sum()

    def lacking(a: float) -> float:
        return float(expit(logits + a).sum() - total)

    a = float(brentq(lacking, -logits.max() - 40, -logits.min() + 40, xtol=1e-12))
    p = expit(logits + a)
    information = np.array([[np.sum(p * (1 - p))]])
    if information[0, 0] < 1e-9:
        return Estimate(a, None, "every probability is 0 or 1")
    error = _sandwich(np.ones((len(p), 1)), abnormal - p, information, patients)
    return Estimate(a, float(error[0]))


def _loss(abnormal: NDArray[np.bool_], logits: NDArray[np.float64]) -> float:
    return float(log_losses(abnormal, logits).sum())


def _sandwich(
    design: NDArray[np.float64],
    residuals: NDArray[np.float64],
    information: NDArray[np.float64],
    patients: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Standard errors of coefficients with patients as clusters (Liang and Zeger 1986)."""
    _, codes = np.unique(patients, return_inverse=True)
    scores = np.stack([np.bincount(codes, column * residuals) for column in design.T])
    count = scores.shape[1]
    bread = np.linalg.inv(information)
    meat = count / (count - 1) * scores @ scores.T if count > 1 else np.zeros_like(information)
    return np.sqrt(np.maximum(np.diag(bread @ meat @ bread), 0.0))


def _of_probabilities(of: Callable[[Metric, Case], Value]) -> Callable[[Metric, Case], Value]:
    """``of``, or the reason why the scores give no probabilities."""
    return lambda metric, case: (
        Value(reason=case.uncalibrated) if case.uncalibrated else of(metric, case)
    )


def _logits(case: Case) -> NDArray[np.float64]:
    """Logits at the prevalence of validation."""
    assert case.val is not None, "without it the case is uncalibrated"
    return undo_resampling(case.units.scores, float(case.val.abnormal.mean()))


@_of_probabilities
def _loss_value(metric: Metric, case: Case) -> Value:
    """A mean loss with its interval; Brier's skill is relative to the test set's own prevalence."""
    numbers, draws = case.shared(_losses)
    number = float(numbers[metric.name][0])
    if draws is None:
        return Value(value=number, reason=too_few_patients(case.units))
    return drawn_value(metric, number, draws[metric.name], case.units, case.protocol.confidence)


def _losses(
    case: Case,
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]] | None]:
    """All mean losses, and their bootstrap draws if there are any."""
    once = np.ones((1, len(np.unique(case.units.patients))))
    numbers = _mean_losses(case, once)
    return numbers, None if case.weights is None else _mean_losses(case, case.weights)


def _mean_losses(case: Case, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Mean losses and Brier's skill when patient p counts ``weights[d, p]`` times, ``(D,)`` each."""
    abnormal, logits = case.units.abnormal, case.shared(_logits)
    losses = {"brier": squared_errors(abnormal, logits), "log-loss": log_losses(abnormal, logits)}
    codes = np.unique(case.units.patients, return_inverse=True)[1]
    n = weights @ np.bincount(codes)
    prevalence = weights @ np.bincount(codes, abnormal) / n
    found = {name: weights @ np.bincount(codes, loss) / n for name, loss in losses.items()}
    reference = prevalence * (1 - prevalence)
    skill = np.full(len(weights), np.nan)
    np.divide(found["brier"], reference, out=skill, where=reference > 0)
    return found | {"brier-skill": 1 - skill}


@_of_probabilities
def _slope_value(metric: Metric, case: Case) -> Value:
    estimate = calibration_slope(*case.arrays)
    return estimated_value(estimate, case.units, case.protocol.confidence)


@_of_probabilities
def _intercept_value(metric: Metric, case: Case) -> Value:
    units = case.units
    estimate = calibration_intercept(units.abnormal, case.shared(_logits), units.patients)
    return estimated_value(estimate, units, case.protocol.confidence)


@_of_probabilities
def _error_value(metric: Metric, case: Case) -> Value:
    return Value(
        value=equal_mass_error(case.units.abnormal, case.shared(_logits)),
        reason="it is biased upwards, and in draws of patients more so",
    )


METRICS = (
    Metric(
        "brier",
        "Brier",
        "mean squared error of the probability, 1:1 resampling undone",
        unit="plain",
        decimals=4,
        direction="lower",
        compute=_loss_value,
        interval="bootstrap",
    ),
    Metric(
        "brier-skill",
        "Brier skill",
        "share of the Brier score of 'always the prevalence' that is saved; below 0 is worse than it",
        unit="plain",
        decimals=3,
        low=None,
        compute=_loss_value,
        interval="bootstrap",
    ),
    Metric(
        "log-loss",
        "Log loss",
        "mean negative log-likelihood in nats, 1:1 resampling undone",
        unit="plain",
        decimals=4,
        direction="lower",
        high=None,
        compute=_loss_value,
        interval="bootstrap",
    ),
    Metric(
        "calibration-slope",
        "Cal. slope",
        "slope of the outcome on the logit: 1 is right, below 1 is overconfident",
        unit="plain",
        decimals=2,
        direction="",
        low=None,
        high=None,
        compute=_slope_value,
        interval="sandwich",
    ),
    Metric(
        "calibration-intercept",
        "Cal. intercept",
        "shift of the logit that makes the mean probability right: 0 is right, below 0 was too high",
        unit="plain",
        decimals=2,
        direction="",
        low=None,
        high=None,
        compute=_intercept_value,
        interval="sandwich",
    ),
    Metric(
        "ece",
        "ECE",
        "calibration error of the probability of abnormal over 15 bins of equal mass; 'always the prevalence' has 0",
        unit="plain",
        decimals=4,
        direction="lower",
        compute=_error_value,
    ),
)
