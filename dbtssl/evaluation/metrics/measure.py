"""All metrics of one set of scored units: the row of a table.

    row = measure(test, val, protocol)                     # two `ScoreSet`s of one level
    row.values["sp@87"]                                    # a `Value`: number, interval, or the reason in words

It works on any level; `dbtssl.evaluation.catalogue` says what each metric is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbtssl.evaluation.catalogue import (
    AT_DEPTH,
    CATALOGUE,
    MISSED,
    SENSITIVITY_AT,
    SPECIFICITY_AT,
)
from dbtssl.evaluation.metrics.calibration import (
    calibration_intercept,
    calibration_slope,
    equal_mass_error,
    log_losses,
    squared_errors,
    undo_resampling,
)
from dbtssl.evaluation.metrics.curve_draws import CURVE_METRICS, curve_draws
from dbtssl.evaluation.metrics.equal_depth import at_equal_depth
from dbtssl.evaluation.metrics.rates import COMBINED, RATES, rate_draws, rate_values
from dbtssl.evaluation.metrics.thresholds import choice_of_threshold, one_class
from dbtssl.evaluation.metrics.workload import workload
from dbtssl.evaluation.operating_points.points import sensitivity_at, specificity_at
from dbtssl.evaluation.operating_points.threshold_rules import choose_threshold, threshold_draws
from dbtssl.evaluation.score_set import counts_at
from dbtssl.evaluation.statistics.clustered import SEED, patient_draws
from dbtssl.evaluation.statistics.intervals import (
    auc_value,
    drawn_value,
    estimated_value,
    positive_patients,
    refuse_not_finite,
    too_few_patients,
)
from dbtssl.evaluation.values import Row, Value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.evaluation.metrics.thresholds import Choice
    from dbtssl.evaluation.protocol import Protocol
    from dbtssl.evaluation.score_set import ScoreSet
    from dbtssl.evaluation.values import Kind

DRAWN = tuple(name for name in CURVE_METRICS if name != "auc")  # its variance is known
AT_THRESHOLD = (*RATES, *COMBINED)
CALIBRATION = (
    "brier",
    "brier-skill",
    "log-loss",
    "calibration-slope",
    "calibration-intercept",
    "ece",
)
NO_DEPTH = "only slices have a depth in the stack"
PROBABILITIES = "all scores lie in [0, 1], so they are no logits"
MEASURED = tuple(
    name
    for name in CATALOGUE
    if name in {*CURVE_METRICS, AT_DEPTH, *AT_THRESHOLD, *CALIBRATION, "prevalence"}
)
"""The metrics of `measure`, in the catalogue's order."""


def measure(
    test: ScoreSet,
    val: ScoreSet | None,
    protocol: Protocol,
    kind: Kind = "method",
    name: str = "",
    *,
    logits: bool = True,
    uncalibrated: str = "",
) -> Row:
    """Every metric of the catalogue that units with one score each have.

    The protocol says where the threshold is chosen; ``val`` gives it, and the prevalence at which probabilities are
    judged; without it those metrics say so. ``logits``: whether scores are logits; else there is no calibration. The
    caller knows: weak logits lie in [0, 1] too. ``uncalibrated`` is another reason why there is none. A set of one
    class has no values, and its reason says so. `DataError` for scores that are not finite.
    """
    for split, units in (("test", test), ("validation", val)):
        if units is not None:
            refuse_not_finite(units, f"the {split} split")
    row = Row(
        kind=kind,
        name=name,
        level=test.level,
        values={},
        n_pos=int(test.abnormal.sum()),
        n_neg=int((~test.abnormal).sum()),
        n_pos_patients=positive_patients(test),
        n_patients=len(np.unique(test.patients)),
        evaluation_set=test.evaluation_set,
        diagnostic=protocol.diagnostic,
    )
    if reason := one_class(test, "test"):
        return row.model_copy(update={"values": dict.fromkeys(MEASURED, Value(reason=reason))})
    weights = None if too_few_patients(test) else patient_draws(test.abnormal, test.patients)
    values, points = _curve_values(test, protocol, weights)
    values["prevalence"] = Value(
        value=row.n_pos / len(test.scores), reason="it describes the set, not the method"
    )
    update: dict[str, object] = points
    rates, at = _rates_at_threshold(
        test, choice_of_threshold(test, val, protocol, kind, logits=logits), protocol, weights
    )
    values |= rates
    update |= at
    if not logits:
        uncalibrated = uncalibrated or "the scores are no logits"
    elif reason := one_class(val, "validation"):
        uncalibrated = f"no prevalence: {reason}"
    if uncalibrated or val is None:
        values |= dict.fromkeys(CALIBRATION, Value(reason=uncalibrated))
    else:
        values |= _calibration_values(test, float(val.abnormal.mean()), protocol, weights)
    if np.ptp(test.scores) == 0:
        values = {m: _without_interval(v, "all scores are equal") for m, v in values.items()}
    return row.model_copy(update=update | {"values": {m: values[m] for m in MEASURED}})


def in_unit_interval(scores: NDArray[np.float64]) -> bool:
    """Whether all lie in [0, 1] and differ: then they may be probabilities, which nothing but a guess can tell."""
    low, high = scores.min(), scores.max()
    return bool(0 <= low < high <= 1)


def _rates_at_threshold(
    test: ScoreSet, choice: Choice, protocol: Protocol, weights: NDArray[np.float64] | None
) -> tuple[dict[str, Value], dict[str, object]]:
    """What happens at the threshold of ``choice``; its intervals draw the patients that it was chosen on as well."""
    rule, units, reason = choice
    if rule is None or units is None:
        return dict.fromkeys(AT_THRESHOLD, Value(reason=reason)), {}
    threshold = choose_threshold(units.abnormal, units.scores, rule)
    draws = None
    if weights is not None:
        own = (
            weights
            if units is test
            else patient_draws(units.abnormal, units.patients, seed=SEED + 1)
        )
        draws = rate_draws(test, threshold_draws(units, own, rule), weights)
    counts = counts_at(test.abnormal, test.scores, threshold)
    values = rate_values(test, threshold, protocol.confidence, draws)
    return values, {"threshold": threshold, **counts._asdict()}


def _curve_values(
    units: ScoreSet, protocol: Protocol, weights: NDArray[np.float64] | None
) -> tuple[dict[str, Value], dict[str, object]]:
    """What the ROC curve gives, and what is attained where."""
    rule, arrays = protocol.specificity_rule, (units.abnormal, units.scores)
    everybody = np.ones((1, len(np.unique(units.patients))))
    drawn = everybody if weights is None else np.concatenate([everybody, weights])
    draws = curve_draws(units, drawn, rule, DRAWN)
    numbers = {name: float(v[0]) for name, v in draws.items()}
    attained, cuts = {}, {}
    for name, target in (SPECIFICITY_AT | SENSITIVITY_AT).items():
        at = specificity_at if name in SPECIFICITY_AT else sensitivity_at
        point = at(*arrays, target, rule)
        both = point.specificity, point.sensitivity
        numbers[name], attained[name] = both if name in SPECIFICITY_AT else both[::-1]
        if point.threshold is not None:
            cuts[name] = point.threshold
    values = {}
    for name, number in numbers.items():
        if weights is None:
            values[name] = Value(value=number, reason=too_few_patients(units))
        elif name not in draws:
            values[name] = Value(value=number, reason=f"no interval under the rule {rule}")
        else:
            values[name] = drawn_value(name, number, draws[name][1:], units, protocol.confidence)
    values["auc"] = auc_value(units, protocol)
    values[AT_DEPTH] = (
        Value(reason=NO_DEPTH)
        if units.depth is None
        else auc_value(at_equal_depth(units), protocol)
    )
    for name, missed in MISSED.items():
        if missed >= positive_patients(units):
            count = positive_patients(units)
            values[name] = Value(reason=f"there are no more than {count} positive patients to miss")
        else:
            cuts[name] = workload(*arrays, units.patients, missed).threshold
    return values, {"attained": attained, "cuts": cuts}


def _calibration_values(
    units: ScoreSet, prevalence: float, protocol: Protocol, weights: NDArray[np.float64] | None
) -> dict[str, Value]:
    """At ``prevalence``, that of validation; Brier's skill is against the test set's own."""
    abnormal, patients = units.abnormal, units.patients
    logits = undo_resampling(units.scores, prevalence)
    losses = {"brier": squared_errors(abnormal, logits), "log-loss": log_losses(abnormal, logits)}
    once = np.ones((1, len(np.unique(patients))))
    numbers = _mean_losses(losses, units, once)
    draws = None if weights is None else _mean_losses(losses, units, weights)
    values = {}
    for name, number in numbers.items():
        values[name] = (
            Value(value=float(number[0]), reason=too_few_patients(units))
            if draws is None
            else drawn_value(name, float(number[0]), draws[name], units, protocol.confidence)
        )
    for name, estimate in (
        ("calibration-slope", calibration_slope(abnormal, units.scores, patients)),
        ("calibration-intercept", calibration_intercept(abnormal, logits, patients)),
    ):
        values[name] = estimated_value(estimate, units, protocol.confidence)
    values["ece"] = Value(
        value=equal_mass_error(abnormal, logits),
        reason="it is biased upwards, and in draws of patients more so",
    )
    return values


def _mean_losses(
    losses: dict[str, NDArray[np.float64]], units: ScoreSet, weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Mean losses and Brier's skill when patient p counts ``weights[d, p]`` times, ``(D,)`` each."""
    codes = np.unique(units.patients, return_inverse=True)[1]
    n = weights @ np.bincount(codes)
    prevalence = weights @ np.bincount(codes, units.abnormal) / n
    found = {name: weights @ np.bincount(codes, loss) / n for name, loss in losses.items()}
    reference = prevalence * (1 - prevalence)
    skill = np.full(len(weights), np.nan)
    np.divide(found["brier"], reference, out=skill, where=reference > 0)
    return found | {"brier-skill": 1 - skill}


def _without_interval(value: Value, reason: str) -> Value:
    return value if value.value is None else Value(value=value.value, reason=reason)
