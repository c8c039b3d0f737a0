"""How right the probabilities are, once the 1:1 resampling of training is undone.

The methods train on batches with as many abnormals as normals, so their logits are those of a prevalence of 1/2. A
calibration error alone is worthless at a prevalence of 1 %: a constant has the best (facts of `ece`). So Brier's score
stands with its skill, and the slope and intercept of logistic recalibration (Cox 1958; Van Calster et al. 2019).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import rankdata

from dbtssl.evaluation.statistics.intervals import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRAINED_AT = 0.5  # share of abnormals in training batches
BINS = 15
STEPS = 100  # of Newton's method; ten are enough but where the classes hardly overlap
LEAST_SPREAD = 1e-290  # of scores, so that a slope does not overflow


def undo_resampling(
    logits: NDArray[np.float64], prevalence: float, trained_at: float = TRAINED_AT
) -> NDArray[np.float64]:
    """Logits at ``prevalence`` from those of a model that was trained at another (Saerens et al. 2002)."""
    shift: float = logit(prevalence) - logit(trained_at)
    return logits + shift


def squared_errors(abnormal: NDArray[np.bool_], logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """(p - y)^2 of each unit; their mean is Brier's score."""
    return np.asarray(expit(np.where(abnormal, -logits, logits)) ** 2, dtype=np.float64)


def log_losses(abnormal: NDArray[np.bool_], logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Negative log-likelihood of each unit in nats, from logits, so that a sure mistake stays finite."""
    return np.logaddexp(0.0, np.where(abnormal, -logits, logits))


def equal_mass_error(abnormal: NDArray[np.bool_], logits: NDArray[np.float64]) -> float:
    """Mean |mean p - share of abnormals| over 15 bins with equally many units, ties in one bin, weighted by units."""
    n = len(logits)
    bins = np.minimum((rankdata(logits) - 0.5) * BINS / n, BINS - 1).astype(np.intp)
    gap = np.bincount(bins, expit(logits) - abnormal, minlength=BINS)
    return float(np.abs(gap).sum() / n)


def calibration_slope(
    abnormal: NDArray[np.bool_], logits: NDArray[np.float64], patients: NDArray[np.int64]
) -> Estimate:
    """b of logit P(abnormal) = a + b logit; both classes must be there.

    Maximum likelihood, sandwich error over patients. Where a threshold separates the classes b has no finite value.
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
    """a of logit P(abnormal) = a + logit (calibration in the large): 0 where the mean probability is the prevalence."""
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
