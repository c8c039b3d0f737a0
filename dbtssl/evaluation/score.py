"""From predictions to all numbers of a table: the method and its references, at slice and volume level."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbtssl.errors import DataError
from dbtssl.evaluation.measures import measure
from dbtssl.evaluation.predictions import (
    Predictions,
    parse_predictions,
    without_actionable,
)
from dbtssl.evaluation.shortcuts import all_normal, shortcut_sets
from dbtssl.evaluation.units import score_sets
from dbtssl.evaluation.values import Score

if TYPE_CHECKING:
    import pyarrow as pa

    from dbtssl.evaluation.protocol import Protocol
    from dbtssl.evaluation.units import ScoreSet
    from dbtssl.evaluation.values import Kind, Row
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
    test: ScoreSet, val: ScoreSet | None, protocol: Protocol, kind: Kind = "method", name: str = ""
) -> Row:
    """All metrics of one set of units; those of calibration only for a method, whose scores are logits."""
    return measure(test, val, protocol, kind, name, logits=kind == "method")


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
