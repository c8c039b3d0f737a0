"""Covariances and intervals when slices and volumes of one patient are not independent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit
from scipy.stats import t as student

from dbtssl.evaluation.statistics.placements import placements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DRAWS = 2000  # of the bootstrap: its standard deviation is then known to 1.6 %
SEED = 0  # of the bootstrap: an interval is the same whenever it is computed
BLOCK = 2**20  # patients that are drawn at once


def clustered_covariance(
    abnormal: NDArray[np.bool_], scores: Sequence[NDArray[np.float64]], patients: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """AUCs ``(K,)`` and their covariance ``(K, K)`` with patients as clusters (Obuchowski, Biometrics 1997).

    A patient may hold both classes. Two patients with abnormals and two with normals at least.
    """
    _, codes = np.unique(patients, return_inverse=True)
    count = int(codes.max()) + 1
    of_x, of_y = codes[abnormal], codes[~abnormal]
    m, n = np.bincount(of_x, minlength=count), np.bincount(of_y, minlength=count)
    parts = [placements(abnormal, s) for s in scores]
    auc = np.array([p.auc for p in parts])
    x = np.stack(
        [np.bincount(of_x, p.abnormal, minlength=count) - m * p.auc for p in parts]
    )  # K x patients
    y = np.stack([np.bincount(of_y, p.normal, minlength=count) - n * p.auc for p in parts])
    clusters_x, clusters_y = int((m > 0).sum()), int((n > 0).sum())
    s10 = clusters_x / ((clusters_x - 1) * m.sum()) * x @ x.T
    s01 = clusters_y / ((clusters_y - 1) * n.sum()) * y @ y.T
    s11 = count / (count - 1) * x @ y.T
    return auc, s10 / m.sum() + s01 / n.sum() + (s11 + s11.T) / (m.sum() * n.sum())


def logit_t_interval(
    p: float, variance: float, df: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval for ``p`` in (0, 1) with ``variance`` on its own scale: logit scale, Student's t.

    With df = positive patients - 1 its coverage is the best of those tried on the layout of the SIFT-DBT test set.
    """
    half = student.ppf(0.5 + confidence / 2, df) * np.sqrt(variance) / (p * (1 - p))
    centre = logit(p)
    return float(expit(centre - half)), float(expit(centre + half))


def logit_draws_interval(
    p: float, draws: NDArray[np.float64], patients: int, df: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval for a fraction ``p`` over ``patients`` from its bootstrap ``draws``: their sd on the logit scale, t.

    Fractions are moved off 0 and 1 by half a patient. For SP@87 and SP@80 of simulated volumes its coverage is 0.91 to
    0.94 with 21 positive patients and 0.92 to 0.97 with 8; that of percentiles 0.87 to 0.93 and 0.88 to 0.93.
    """

    def moved(fraction: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return np.asarray(logit((fraction * patients + 0.5) / (patients + 1)), dtype=np.float64)

    half = student.ppf(0.5 + confidence / 2, df) * np.nanstd(moved(draws), ddof=1)
    centre = moved(p)
    return min(float(expit(centre - half)), p), max(float(expit(centre + half)), p)


def proportion_interval(
    hits: NDArray[np.float64], units: NDArray[np.float64], df: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Wilson's interval for sum(hits) / sum(units) with the effective sample size, patients as clusters.

    ``hits`` and ``units`` are counts, one a patient, ``(patients,)``, all units > 0, two patients at least. The design
    effect is the ratio estimator's variance over the binomial one, never below 1; Student's t with ``df`` takes the
    place of the normal quantile (Korn and Graubard 1998; Franco, Little, Louis and Slud 2019). Where the proportion is
    0 or 1 the variance says nothing, and units of a patient are taken to agree fully: Kish's design effect.
    """
    k, n = len(units), float(units.sum())
    p = float(hits.sum()) / n
    if 0 < p < 1:
        variance = k / (k - 1) * float(((hits - p * units) ** 2).sum()) / n**2
        effect = max(variance / (p * (1 - p) / n), 1.0)
    else:
        effect = float((units**2).sum()) / n
    size = n / effect
    z2 = float(student.ppf(0.5 + confidence / 2, df)) ** 2
    centre = (p + z2 / (2 * size)) / (1 + z2 / size)
    half = np.sqrt(z2 * (p * (1 - p) / size + z2 / (4 * size**2))) / (1 + z2 / size)
    return (
        0.0 if p == 0 else max(float(centre - half), 0.0),
        1.0 if p == 1 else min(float(centre + half), 1.0),
    )


def patient_draws(
    abnormal: NDArray[np.bool_], patients: NDArray[np.int64], draws: int = DRAWS, seed: int = SEED
) -> NDArray[np.float64]:
    """How often each patient is drawn, ``(draws, patients)``: with replacement, stratified by having an abnormal unit.

    Columns are in the order of the sorted ids. Stratified, no draw lacks abnormals.
    """
    _, codes = np.unique(patients, return_inverse=True)
    count = int(codes.max()) + 1
    positive = np.bincount(codes[abnormal], minlength=count) > 0
    rng = np.random.default_rng(seed)
    weights = np.zeros((draws, count))
    for stratum in (np.flatnonzero(positive), np.flatnonzero(~positive)):
        size = len(stratum)
        block = max(1, BLOCK // max(size, 1))
        for start in range(0, draws if size else 0, block):
            rows = weights[start : start + block]
            drawn = rng.integers(size, size=(len(rows), size), dtype=np.int32)
            cell = drawn + size * np.arange(len(rows))[:, None]
            found = np.bincount(cell.ravel(), minlength=size * len(rows))
            rows[:, stratum] = found.reshape(len(rows), size)
    return weights
