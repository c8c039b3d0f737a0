"""From predictions to all numbers of a table: the method and its references, at slice and volume level."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbtssl.errors import DataError
from dbtssl.evaluation.intervals import (
    auc_value,
    positive_patients,
    rate_values,
    specificity_values,
)
from dbtssl.evaluation.metrics import METRICS, counts_at
from dbtssl.evaluation.operating_points import balanced_threshold
from dbtssl.evaluation.predictions import (
    Predictions,
    parse_predictions,
    without_actionable,
)
from dbtssl.evaluation.shortcuts import all_normal, shortcut_sets
from dbtssl.evaluation.units import score_sets
from dbtssl.evaluation.values import Row, Score, Value

if TYPE_CHECKING:
    import pyarrow as pa

    from dbtssl.evaluation.protocol import Protocol
    from dbtssl.evaluation.units import ScoreSet
    from dbtssl.evaluation.values import Kind
    from dbtssl.interfaces import Aggregator


def score(
    test: Predictions | pa.Table,
    val: Predictions | pa.Table,
    protocol: Protocol,
    slice_aggregator: Aggregator,
    volume_aggregator: Aggregator,
    patches: int | None = None,
) -> Score:
    """Score the test predictions with thresholds from the validation predictions.

    ``patches`` is how many of a slice's logits are used, the first ones; None takes all. Aggregators come fitted.
    `DataError` for a table that is not one of predictions, for no volume left, and for a patient in both splits.
    """
    test, val = _prepare(test, "test", protocol), _prepare(val, "validation", protocol)
    if both := sorted(set(test.patients) & set(val.patients)):
        raise DataError(
            f"{len(both)} patients are in the validation and the test split: {', '.join(both[:5])}",
            hint="split by patient, and predict again",
        )
    test_sets = score_sets(test, slice_aggregator, volume_aggregator, patches)
    val_sets = score_sets(val, slice_aggregator, volume_aggregator, patches)
    test_shortcuts = shortcut_sets(test, *test_sets)
    val_shortcuts = shortcut_sets(val, *val_sets)
    rows = []
    for i in range(len(test_sets)):
        method = score_units(test_sets[i], val_sets[i], protocol)
        rows.append(method)
        rows += [
            score_units(sets[i], val_shortcuts[name][i], protocol, "shortcut", name)
            for name, sets in test_shortcuts.items()
        ]
        rows.append(all_normal(method))
    return Score(
        protocol=protocol,
        slice_aggregator=type(slice_aggregator).__name__,
        volume_aggregator=type(volume_aggregator).__name__,
        patches=int(np.diff(test.offsets).min()) if patches is None else patches,
        rows=tuple(rows),
    )


def score_units(
    test: ScoreSet, val: ScoreSet, protocol: Protocol, kind: Kind = "method", name: str = ""
) -> Row:
    """All metrics of one set of units; a set of one class has no values, and its reason says so."""
    n_pos, n_neg = int(test.abnormal.sum()), int((~test.abnormal).sum())
    row = Row(
        kind=kind,
        name=name,
        level=test.level,
        values={},
        n_pos=n_pos,
        n_neg=n_neg,
        n_pos_patients=positive_patients(test),
        n_patients=len(np.unique(test.patients)),
        evaluation_set=test.evaluation_set,
    )
    if reason := _one_class(test, "test"):
        return row.model_copy(update={"values": dict.fromkeys(METRICS, Value(reason=reason))})
    specificities, attained = specificity_values(test, protocol)
    values = {"auc": auc_value(test, protocol), **specificities}
    update: dict[str, object] = {"attained": attained}
    if reason := _one_class(val, "validation"):
        values |= dict.fromkeys(("npv", "nr", "ar"), Value(reason=f"no threshold: {reason}"))
    else:
        threshold = balanced_threshold(val.abnormal, val.scores)
        values |= rate_values(test, threshold, protocol)
        counts = counts_at(test.abnormal, test.scores, threshold)
        update |= {"threshold": threshold, **counts._asdict()}
    if np.ptp(test.scores) == 0:
        values = {m: _without_interval(v, "all scores are equal") for m, v in values.items()}
    return row.model_copy(update=update | {"values": {m: values[m] for m in METRICS}})


def _prepare(predictions: Predictions | pa.Table, split: str, protocol: Protocol) -> Predictions:
    if not isinstance(predictions, Predictions):
        predictions = parse_predictions(predictions, f"{split} predictions")
    if protocol.actionable == "drop":
        predictions = without_actionable(predictions)
    if not predictions.volumes:
        raise DataError(
            f"no volume is left in the {split} split once Actionable ones are left out",
            hint="take more patients, or another split seed",
        )
    return predictions


def _without_interval(value: Value, reason: str) -> Value:
    return value if value.value is None else Value(value=value.value, reason=reason)


def _one_class(units: ScoreSet, split: str) -> str:
    """Why the set cannot be scored; empty where both classes are there."""
    if units.abnormal.all():
        return f"the {split} split has no normal {units.level}"
    if not units.abnormal.any():
        return f"the {split} split has no abnormal {units.level}"
    return ""
