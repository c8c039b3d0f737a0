"""The core's aggregators: ragged groups of logits in, one logit for each group out.

What is computed is rounded (`settled`), so that groups with the same members in another order tie, on every processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from dbtssl.config import Config as BaseConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.interfaces import Groups, Level

DECIMALS = 12  # of a score up to 1, of larger ones as many digits; what is closer is a tie
LOG_TINY = -37.0  # exp of it is below half a unit in the last place of 1


class Mean:
    """Mean of the probabilities, given back as a logit (SIFT-DBT's patches to slice, section 2.4).

    With p the mean of sigmoid(l), logit(p) = log sum sigmoid(l) - log sum sigmoid(-l). Both sums are taken in the
    log domain, so saturated logits keep their order where the probabilities themselves would all round to 1.
    """

    level: ClassVar[Level | Literal["any"]] = "any"
    needs: ClassVar[Literal["logits", "features"]] = "logits"

    def __call__(self, groups: Groups) -> NDArray[np.float64]:
        """Scores, shape ``(len(groups),)``."""
        return _mean_probability(np.asarray(groups.values, dtype=np.float64), groups.offsets)


class Max:
    """The largest logit of each group (SIFT-DBT's slices to volume, section 2.4)."""

    level: ClassVar[Level | Literal["any"]] = "any"
    needs: ClassVar[Literal["logits", "features"]] = "logits"

    def __call__(self, groups: Groups) -> NDArray[np.float64]:
        """Scores, shape ``(len(groups),)``."""
        values = np.asarray(groups.values, dtype=np.float64)
        largest: NDArray[np.float64] = np.maximum.reduceat(values, groups.offsets[:-1])
        return largest


class TopK:
    """Mean of the probabilities of the ``k`` largest logits, given back as a logit; of all if there are fewer."""

    class Config(BaseConfig):
        """How many."""

        k: int = Field(default=3, ge=1, description="members of a group that count, the largest")

    level: ClassVar[Level | Literal["any"]] = "any"
    needs: ClassVar[Literal["logits", "features"]] = "logits"

    def __init__(self, config: Config) -> None:
        self.k = config.k

    def __call__(self, groups: Groups) -> NDArray[np.float64]:
        """Scores, shape ``(len(groups),)``."""
        values = np.asarray(groups.values, dtype=np.float64)
        sizes = np.diff(groups.offsets)
        group = np.repeat(np.arange(len(sizes)), sizes)
        falling = values[np.lexsort((-values, group))]
        rank = np.arange(len(values)) - np.repeat(groups.offsets[:-1], sizes)
        offsets = np.cumsum([0, *np.minimum(sizes, self.k)]).astype(np.int64)
        return _mean_probability(falling[rank < self.k], offsets)


class NoisyOr:
    """Probability that at least one member is abnormal, members independent: 1 - prod(1 - p), as a logit.

    With s = -log prod(1 - p) = sum softplus(l) the logit is log(1 - exp(-s)) + s. Where s is small, 1 - exp(-s) is s
    itself, whose logarithm is taken without leaving the log domain: neither end loses the order.
    """

    level: ClassVar[Level | Literal["any"]] = "any"
    needs: ClassVar[Literal["logits", "features"]] = "logits"

    def __call__(self, groups: Groups) -> NDArray[np.float64]:
        """Scores, shape ``(len(groups),)``."""
        logits = np.asarray(groups.values, dtype=np.float64)
        low = logits < LOG_TINY  # there softplus(l) = exp(l) to double precision
        log_softplus = np.where(low, logits, np.log(np.logaddexp(0.0, np.where(low, 0.0, logits))))
        log_s = _log_sum_exp(log_softplus, groups.offsets)
        small = log_s < LOG_TINY
        s = np.exp(np.where(small, 0.0, log_s))
        return settled(np.where(small, log_s, np.log(-np.expm1(-s)) + s))


class LogSumExp:
    """Smooth maximum T log mean exp(l / T) of the logits (Pinheiro and Collobert, CVPR 2015, with r = 1 / T).

    T towards 0 is their maximum, T towards infinity their mean.
    """

    class Config(BaseConfig):
        """How smooth."""

        temperature: float = Field(default=1.0, ge=0.01, le=100, description="T, in logits")

    level: ClassVar[Level | Literal["any"]] = "any"
    needs: ClassVar[Literal["logits", "features"]] = "logits"

    def __init__(self, config: Config) -> None:
        self.temperature = config.temperature

    def __call__(self, groups: Groups) -> NDArray[np.float64]:
        """Scores, shape ``(len(groups),)``."""
        values = np.asarray(groups.values, dtype=np.float64) / self.temperature
        mean = _log_sum_exp(values, groups.offsets) - np.log(np.diff(groups.offsets))
        return settled(self.temperature * mean)


class ZRun:
    """The best mean probability over ``window`` neighbouring slices, as a logit: a lesion spans several.

    A volume with fewer slices has one run, all of them. The default is the width of the lesion window of `STRICT`.
    """

    class Config(BaseConfig):
        """How long a run is."""

        window: int = Field(default=9, ge=1, description="slices of a run")

    level: ClassVar[Level | Literal["any"]] = "volume"
    needs: ClassVar[Literal["logits", "features"]] = "logits"

    def __init__(self, config: Config) -> None:
        self.window = config.window

    def __call__(self, groups: Groups) -> NDArray[np.float64]:
        """Scores, shape ``(len(groups),)``; the values of a group are in order of z."""
        values = np.asarray(groups.values, dtype=np.float64)
        sizes = np.diff(groups.offsets)
        width = np.minimum(sizes, self.window)
        runs = sizes - width + 1
        ends = np.cumsum(runs)
        starts = (
            np.arange(ends[-1])
            - np.repeat(ends - runs, runs)
            + np.repeat(groups.offsets[:-1], runs)
        )
        of_run = np.repeat(width, runs)
        offsets = np.cumsum([0, *of_run]).astype(np.int64)
        index = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - starts, of_run)
        means = _mean_probability(values[index], offsets)
        best: NDArray[np.float64] = np.maximum.reduceat(means, ends - runs)
        return best


def settled(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """``scores`` to `DECIMALS`: what differs by the last bits of a sum alone is equal; no order is turned round."""
    scale = 10.0 ** np.ceil(np.log10(np.maximum(np.abs(scores), 1.0)))
    return np.asarray(np.round(scores / scale, DECIMALS) * scale, dtype=np.float64)


def _mean_probability(
    logits: NDArray[np.float64], offsets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Logit of the mean of the probabilities within each group."""
    abnormal = _log_sum_exp(-np.logaddexp(0.0, -logits), offsets)
    normal = _log_sum_exp(-np.logaddexp(0.0, logits), offsets)
    return settled(abnormal - normal)


def _log_sum_exp(values: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """log sum exp within each group; no group is empty."""
    starts, sizes = offsets[:-1], np.diff(offsets)
    top = np.maximum.reduceat(values, starts)
    sums = np.add.reduceat(np.exp(values - np.repeat(top, sizes)), starts)
    return np.asarray(top + np.log(sums), dtype=np.float64)
