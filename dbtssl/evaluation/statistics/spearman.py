"""Spearman's rank correlation in draws of patients, exact: an item that is drawn twice is ranked twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELLS = 2**22  # draws times items that are ranked at once


def spearman_draws(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    patients: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Spearman's rho when patient p counts ``weights[d, p]`` times, ``(D,)``; nan where ``x`` or ``y`` is constant.

    ``x``, ``y`` and ``patients`` are ``(n,)``; the columns of ``weights`` are in the order of the sorted patients. Ties
    have their mean rank (`scipy.stats.spearmanr`).
    """
    codes = np.unique(patients, return_inverse=True)[1]
    blocks = np.array_split(weights, -(-len(weights) * len(x) // CELLS))
    return np.concatenate([_spearman(x, y, block[:, codes]) for block in blocks])


def _spearman(
    x: NDArray[np.float64], y: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    centre = (counts.sum(axis=1, keepdims=True) + 1) / 2
    a, b = (_mean_ranks(values, counts) - centre for values in (x, y))
    together = (counts * a * b).sum(axis=1)
    spread = (counts * a**2).sum(axis=1) * (counts * b**2).sum(axis=1)
    out = np.full(len(counts), np.nan)
    np.divide(together, np.sqrt(spread), out=out, where=spread > 0)
    return out.clip(-1, 1)


def _mean_ranks(values: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean rank of each item when item i is there ``counts[d, i]`` times, ``(D, n)``."""
    distinct, codes = np.unique(values, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(distinct)))
    tied = np.add.reduceat(counts[:, order], starts, axis=1)  # D x distinct values
    ranks: NDArray[np.float64] = np.cumsum(tied, axis=1) - (tied - 1) / 2
    return ranks[:, codes]
