"""The smallest difference that a test set could show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field
from scipy.optimize import brentq
from scipy.stats import chi2, norm
from scipy.stats import t as student

from dbtssl.config import Config
from dbtssl.errors import ConfigError
from dbtssl.evaluation.catalogue import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtssl.evaluation.comparison.compare_methods import Difference

NODES = 2000  # of the integral: a probability is then right to four digits


class SmallestDifference(Config):
    """A difference that would be found with the stated power; None if ``reason`` says why not."""

    value: float | None = Field(default=None, description="in the metric's own unit")
    reason: str = Field(default="", description="why there is none")
    metric: str = Field(default="auc", description="name of the metric")
    power: float = Field(description="fraction of repeats in which it would be found")
    confidence: float = Field(description="1 minus the two-sided level of the test")
    n_pos_patients: int = Field(description="patients with an abnormal unit")
    comparisons: int = Field(description="of which the median standard error was taken")

    def words(self) -> str:
        """One sentence for the footer of a table."""
        if self.value is None:
            return f"The smallest difference that this test set could show is not known: {self.reason}."
        metric = CATALOGUE[self.metric]
        points = " points" if metric.unit == "percent" else ""
        return (
            f"The smallest difference in {metric.label} that this test set could show is "
            f"{metric.show(self.value)}{points}: with {self.n_pos_patients} positive patients a smaller true one is "
            f"missed more than {100 * (1 - self.power):.0f} % of the time (paired, two-sided "
            f"{100 * (1 - self.confidence):.0f} %, before correction for several comparisons)."
        )


def detectable(df: float, power: float = 0.8, confidence: float = 0.95) -> float:
    """How many standard errors a true difference must be for a two-sided t test to find it with ``power``.

    With many degrees of freedom it is 1.96 + 0.84 = 2.80 at the defaults.
    """
    critical = float(student.ppf(0.5 + confidence / 2, df))
    return float(brentq(lambda shift: chance(shift, critical, df) - power, 0.0, 100 * critical))


def chance(shift: float, critical: float, df: float) -> float:
    """Probability that a noncentral t of ``shift`` lies beyond -+ ``critical``.

    By integration over the estimated standard error, 1 on average: scipy's ``nct`` has nan where ``shift`` is large.
    """
    quantiles = (np.arange(NODES) + 0.5) / NODES
    error = np.sqrt(chi2.ppf(quantiles, df) / df)
    return float(np.mean(norm.sf(critical * error - shift) + norm.cdf(-critical * error - shift)))


def smallest_difference(
    differences: Sequence[Difference], *, power: float = 0.8, confidence: float = 0.95
) -> SmallestDifference:
    """From the comparisons of one call of `compare`: the median of their standard errors and degrees of freedom.

    `ConfigError` for a power that is not above the level of the test and below 1.
    """
    if not 1 - confidence < power < 1:
        raise ConfigError(
            f"power: got {power}, expected more than {1 - confidence:.2g} and less than 1",
            hint="0.8 is usual",
        )
    known = [(d.error, d.df) for d in differences if d.error and d.df is not None]
    count = differences[0].n_pos_patients if differences else 0
    found = SmallestDifference(
        metric=differences[0].metric if differences else "auc",
        power=power,
        confidence=confidence,
        n_pos_patients=count,
        comparisons=len(known),
    )
    if not known:
        reason = next((d.reason for d in differences if d.reason), "nothing is compared")
        return found.model_copy(update={"reason": reason})
    error, df = np.median(np.array(known), axis=0)
    return found.model_copy(
        update={"value": float(error) * detectable(float(df), power, confidence)}
    )
