"""Obuchowski and Rockette's analysis of variance: seeds and patients are both random.

Methods are its modalities, seeds its readers, patients its cases. It asks whether one method would beat another with
new seeds and new patients; one training a method cannot answer that (Obuchowski and Rockette 1995; Hillis 2007).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.stats import f as fisher

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_SEEDS = 3


class Components(NamedTuple):
    """Mean squares of the values, and the covariances between them that patients bring.

    ``cov2``: two seeds of one method; ``cov3``: different seeds of different methods.
    """

    methods: int
    seeds: int
    ms_method: float
    ms_interaction: float
    cov2: float
    cov3: float


class RandomSeeds(NamedTuple):
    """The test of equal methods, and the standard error of the difference between two of them."""

    f: float
    df: float
    p: float
    error: float


def components(values: NDArray[np.float64], covariance: NDArray[np.float64]) -> Components:
    """From ``values`` ``(T, R)``, T methods by R seeds, two of each at least, and their ``covariance`` ``(TR, TR)``.

    The covariance is that of patients with the trained models as they are, as `clustered_covariance` gives it.
    """
    t, r = values.shape
    v = covariance.reshape(t, r, t, r)
    other_seed = ~np.eye(r, dtype=np.bool_)
    same_method = np.eye(t, dtype=np.bool_)
    between_seeds = v.transpose(0, 2, 1, 3)[:, :, other_seed].mean(axis=2)  # T x T
    grand, of_method, of_seed = values.mean(), values.mean(axis=1), values.mean(axis=0)
    rest = values - of_method[:, None] - of_seed[None] + grand
    return Components(
        methods=t,
        seeds=r,
        ms_method=float(r * ((of_method - grand) ** 2).sum() / (t - 1)),
        ms_interaction=float((rest**2).sum() / ((t - 1) * (r - 1))),
        cov2=float(between_seeds[same_method].mean()),
        cov3=float(between_seeds[~same_method].mean()),
    )


def random_seeds(c: Components) -> RandomSeeds:
    """F test with Hillis' degrees of freedom (Statistics in Medicine 2007, 26:596).

    With no variance at all F is 0 and p 1 where the methods agree; F is infinite and p 0 where they do not.
    """
    denominator = c.ms_interaction + max(c.seeds * (c.cov2 - c.cov3), 0.0)
    error = float(np.sqrt(2 / c.seeds * denominator))
    if denominator == 0:
        equal = c.ms_method == 0
        return RandomSeeds(0.0 if equal else np.inf, np.inf, 1.0 if equal else 0.0, error)
    spread = c.ms_interaction**2 / ((c.methods - 1) * (c.seeds - 1))
    df = denominator**2 / spread if spread else np.inf
    f = c.ms_method / denominator
    return RandomSeeds(f, df, float(fisher.sf(f, c.methods - 1, df)), error)
