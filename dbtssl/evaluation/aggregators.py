"""The core's aggregators: ragged groups of logits in, one logit for each group out."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from dbtssl import config

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.interfaces import Groups, Level


class Mean:
    """Mean of the probabilities, given back as a logit (SIFT-DBT's patches to slice, section 2.4).

    With p the mean of sigmoid(l), logit(p) = log sum sigmoid(l) - log sum sigmoid(-l). Both sums are taken in the
    log domain, so saturated logits keep their order where the probabilities themselves would all round to 1.
    """

    Config: ClassVar[type[config.Config]] = config.Config
    level: ClassVar[Level | Literal["any"]] = "any"
    needs: ClassVar[Literal["logits", "features"]] = "logits"

    def __call__(self, groups: Groups) -> NDArray[np.float64]:
        """Scores, shape ``(len(groups),)``."""
        logits = np.asarray(groups.values, dtype=np.float64)
        abnormal = _log_sum_exp(-np.logaddexp(0.0, -logits), groups.offsets)
        normal = _log_sum_exp(-np.logaddexp(0.0, logits), groups.offsets)
        scores: NDArray[np.float64] = abnormal - normal
        return scores


class Max:
    """The largest logit of each group (SIFT-DBT's slices to volume, section 2.4)."""

    Config: ClassVar[type[config.Config]] = config.Config
    level: ClassVar[Level | Literal["any"]] = "any"
    needs: ClassVar[Literal["logits", "features"]] = "logits"

    def __call__(self, groups: Groups) -> NDArray[np.float64]:
        """Scores, shape ``(len(groups),)``."""
        values = np.asarray(groups.values, dtype=np.float64)
        largest: NDArray[np.float64] = np.maximum.reduceat(values, groups.offsets[:-1])
        return largest


def _log_sum_exp(values: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """log sum exp within each group; no group is empty."""
    starts, sizes = offsets[:-1], np.diff(offsets)
    top = np.maximum.reduceat(values, starts)
    sums = np.add.reduceat(np.exp(values - np.repeat(top, sizes)), starts)
    return np.asarray(top + np.log(sums), dtype=np.float64)
