"""What a metric is (`Metric`) and what it is computed from (`Case`).

An entry holds everything about its metric: name, unit and range, computation, interval, whether methods can be compared
by it, its value for a rule that calls everything normal, and its place in a narrow table. To add a metric, write a
module with its computation and its entry, list the entry in `dbtssl.evaluation.catalogue`, and add a line to
``docs/metrics.md``:

    def median_gap(metric: Metric, case: Case) -> Value: ...

    MEDIAN_GAP = Metric("median-gap", "Median gap", "median score of abnormal minus normal units", compute=median_gap)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, get_args

import numpy as np

from dbtssl.evaluation.metrics.curve_draws import curve_draws
from dbtssl.evaluation.operating_points.roc import SpecificityRule, curve_table
from dbtssl.evaluation.operating_points.threshold_rules import choose_threshold, threshold_draws
from dbtssl.evaluation.quantity import Quantity
from dbtssl.evaluation.statistics.clustered import SEED, patient_draws
from dbtssl.evaluation.statistics.intervals import drawn_value, too_few_patients
from dbtssl.evaluation.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from dbtssl.evaluation.metrics.thresholds import Choice
    from dbtssl.evaluation.operating_points.roc import Curves, CurveTable
    from dbtssl.evaluation.protocol import Protocol
    from dbtssl.evaluation.score_set import ScoreSet

Interval = Literal["covariance", "bootstrap", "wilson", "sandwich", "none"]
Result = TypeVar("Result")


class Point(NamedTuple):
    """What else is known of a point of the ROC curve: the rate attained at it, and its threshold."""

    attained: float | None
    threshold: float | None


@dataclass(frozen=True)
class Draws:
    """A metric on all bootstrap draws of patients at once: it gives the interval, and paired differences.

    ``of_curves`` is the metric on each of D curves, ``(D,)``. ``table`` makes the curves. ``rules`` are those under
    which the draws are defined. ``undefined`` says why units have no value, empty if they have one; ``no_interval``
    says why the draws give no interval.
    """

    of_curves: Callable[[Curves, SpecificityRule], NDArray[np.float64]]
    table: Callable[[NDArray[np.bool_], NDArray[np.float64], NDArray[np.int64]], CurveTable] = (
        curve_table
    )
    rules: tuple[SpecificityRule, ...] = get_args(SpecificityRule)
    undefined: Callable[[ScoreSet], str] = lambda units: ""
    no_interval: str = ""


@dataclass(frozen=True)
class Metric(Quantity):
    """One metric.

    Args:
        compute: the value with its interval, or the reason why one is missing; None for a metric that is not computed
            from scored units (see `dbtssl.evaluation.probes`).
        interval: how the interval is estimated. A metric with ``covariance`` is an AUC: methods are tested by it.
        draws: the metric on bootstrap draws; None if it is not a function of the ROC curve.
        point: the point of the ROC curve behind the value.
        scores: what replaces the scores before methods are compared.
        levels: levels that have it; empty: all.
        all_normal: its value if everything is called normal, from the fraction of normal units; None: none.
        default: whether it is a column of the default table.
        keep: which columns stay in a narrow terminal; the highest stays longest.
    """

    compute: Callable[[Metric, Case], Value] | None = None
    interval: Interval = "none"
    draws: Draws | None = None
    point: Callable[[Case], Point | None] | None = None
    scores: Callable[[ScoreSet], ScoreSet] | None = None
    levels: tuple[str, ...] = ()
    all_normal: Callable[[float], float] | None = None
    default: bool = False
    keep: int = 40

    @property
    def tested(self) -> bool:
        """Whether methods are tested by it: the covariance between methods is known."""
        return self.interval == "covariance"

    @property
    def comparable(self) -> bool:
        """Whether methods can be compared by it, paired by patient."""
        return self.tested or self.draws is not None

    def is_of(self, level: str) -> bool:
        """Whether units of ``level`` have it."""
        return not self.levels or level in self.levels


@dataclass(frozen=True)
class Case:
    """Scored units of both classes, and what several metrics share, computed once.

    ``choice`` is where the threshold comes from; ``uncalibrated`` says why the scores give no probabilities, empty if
    they do. ``drawn`` are all metrics whose bootstrap draws are made in one pass over the curves.
    """

    units: ScoreSet
    val: ScoreSet | None
    protocol: Protocol
    choice: Choice
    drawn: tuple[Metric, ...] = ()
    uncalibrated: str = ""
    _results: dict[Any, Any] = field(default_factory=dict, repr=False)

    def shared(self, compute: Callable[[Case], Result]) -> Result:
        """``compute`` of this case, computed once for all metrics that ask for it."""
        if compute not in self._results:
            self._results[compute] = compute(self)
        result: Result = self._results[compute]
        return result

    @property
    def arrays(self) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.int64]]:
        """Labels, scores and patients, ``(n,)`` each."""
        return self.units.abnormal, self.units.scores, self.units.patients

    @cached_property
    def weights(self) -> NDArray[np.float64] | None:
        """How often each patient is drawn, ``(D, patients)``; None if there are too few for an interval."""
        if too_few_patients(self.units):
            return None
        return patient_draws(self.units.abnormal, self.units.patients)

    @cached_property
    def draws(self) -> dict[str, NDArray[np.float64]]:
        """Each metric of ``drawn``: its value, then its values in the bootstrap draws, if there are any."""
        once = np.ones((1, len(np.unique(self.units.patients))))
        weights = once if self.weights is None else np.concatenate([once, self.weights])
        return curve_draws(self.units, weights, self.protocol.specificity_rule, self.drawn)

    @cached_property
    def threshold(self) -> float | None:
        """The threshold of the protocol; None if ``choice.reason`` says why there is none."""
        rule, units, _ = self.choice
        if rule is None or units is None:
            return None
        return choose_threshold(units.abnormal, units.scores, rule)

    @cached_property
    def threshold_draws(self) -> NDArray[np.float64] | None:
        """The threshold in each bootstrap draw, ``(D,)``: the patients that it is chosen on are drawn as well."""
        rule, units, _ = self.choice
        if rule is None or units is None or self.weights is None:
            return None
        own = (
            self.weights
            if units is self.units
            else patient_draws(units.abnormal, units.patients, seed=SEED + 1)
        )
        return threshold_draws(units, own, rule)


def bootstrap(metric: Metric, case: Case) -> Value:
    """The value of a metric that has `Draws`, with the interval of its bootstrap draws."""
    return with_drawn_interval(metric, case, lambda: float(case.draws[metric.name][0]))


def with_drawn_interval(metric: Metric, case: Case, number: Callable[[], float]) -> Value:
    """``number`` with the interval of the metric's bootstrap draws, or the reason why it has none."""
    units, rule = case.units, case.protocol.specificity_rule
    assert metric.draws is not None
    if reason := metric.draws.undefined(units):
        return Value(reason=reason)
    value = number()
    if case.weights is None:
        reason = too_few_patients(units)
    elif rule not in metric.draws.rules:
        reason = f"no interval under the rule {rule}"
    else:
        reason = metric.draws.no_interval
    if reason:
        return Value(value=value, reason=reason)
    drawn = case.draws[metric.name][1:]
    return drawn_value(metric, value, drawn, units, case.protocol.confidence)
