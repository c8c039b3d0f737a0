"""All metrics of one set of scored units: the row of a table.

    row = measure(test, val, protocol)                     # two `ScoreSet`s of one level
    row.values["sp@87"]                                    # a `Value`: number and interval, or the reason for none

It works on any level; each entry of `dbtssl.evaluation.catalogue` says what its metric is and computes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbtssl.evaluation.catalogue import CATALOGUE, MEASURED, METRICS
from dbtssl.evaluation.metrics.metric import Case
from dbtssl.evaluation.metrics.thresholds import choice_of_threshold, one_class
from dbtssl.evaluation.score_set import counts_at
from dbtssl.evaluation.statistics.intervals import positive_patients, refuse_not_finite
from dbtssl.evaluation.values import Row, Value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbtssl.evaluation.protocol import Protocol
    from dbtssl.evaluation.score_set import ScoreSet
    from dbtssl.evaluation.values import Kind

DRAWN = tuple(m for m in METRICS if m.draws is not None and m.interval == "bootstrap")
PROBABILITIES = "all scores lie in [0, 1], so they are no logits"


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
    """Every metric of the catalogue that scored units have.

    The protocol says where the threshold is chosen; ``val`` gives it, and the prevalence at which probabilities are
    evaluated; without it those metrics say so. ``logits``: whether the scores are logits; otherwise there is no
    calibration. Only the caller knows: weak logits lie in [0, 1] too. ``uncalibrated`` is another reason why there is
    none. A set of one class has no values, and each reason says so. `DataError` for scores that are not finite.
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
    if not logits:
        uncalibrated = uncalibrated or "the scores are no logits"
    elif reason := one_class(val, "validation"):
        uncalibrated = f"no prevalence: {reason}"
    choice = choice_of_threshold(test, val, protocol, kind, logits=logits)
    return row.model_copy(update=_measured(Case(test, val, protocol, choice, DRAWN, uncalibrated)))


def _measured(case: Case) -> dict[str, object]:
    """The fields of a `Row` that are computed from scores."""
    units, threshold = case.units, case.threshold
    values, attained, cuts = {}, {}, {}
    for name in MEASURED:
        metric = CATALOGUE[name]
        assert metric.compute is not None
        values[name] = metric.compute(metric, case)
        if metric.point is None or (point := metric.point(case)) is None:
            continue
        if point.attained is not None:
            attained[name] = point.attained
        if point.threshold is not None:
            cuts[name] = point.threshold
    if np.ptp(units.scores) == 0:
        values = {m: _without_interval(v, "all scores are equal") for m, v in values.items()}
    fields: dict[str, object] = {"values": values, "attained": attained, "cuts": cuts}
    if threshold is not None:
        counts = counts_at(units.abnormal, units.scores, threshold)
        fields |= {"threshold": threshold, **counts._asdict()}
    return fields


def in_unit_interval(scores: NDArray[np.float64]) -> bool:
    """Whether all lie in [0, 1] and differ: then they may be probabilities; the scores alone cannot say."""
    low, high = scores.min(), scores.max()
    return bool(0 <= low < high <= 1)


def _without_interval(value: Value, reason: str) -> Value:
    return value if value.value is None else Value(value=value.value, reason=reason)
