"""The scored units of a row, once more from its stored predictions: what comparisons and reports are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dbtssl.benchmark.resolve import AGGREGATORS, aggregator
from dbtssl.benchmark.stages.score_stages import LEARNED
from dbtssl.evaluation.aggregation.apply import score_sets
from dbtssl.evaluation.predictions.prediction_table import read_predictions
from dbtssl.evaluation.score import prepared

if TYPE_CHECKING:
    from pathlib import Path

    from dbtssl.benchmark.spec.specification import Spec
    from dbtssl.evaluation.predictions.prediction_table import Predictions
    from dbtssl.evaluation.score_set import ScoreSet

Part = Literal["val", "test"]


@dataclass(frozen=True)
class Units:
    """The predictions of a row that its protocol counts, and its units by level, in the order of `score_sets`."""

    predictions: Predictions
    sets: tuple[ScoreSet, ...]


def part_of(spec: Spec, predicted: Path, part: Part) -> Predictions:
    """The predictions in the folder of a predict stage, as the protocol of ``spec`` takes them."""
    found = read_predictions(predicted / f"{part}.parquet")
    return prepared(found, part, spec.rules)


def test_units(spec: Spec, predicted: Path, scored: Path) -> Units:
    """Test units from the folders of a predict stage and of its score stage, which has what aggregators learnt.

    Levels whose aggregator fails, as the score says, are left out.
    """
    patch, slice_, breast, patient = (aggregator(spec, place).build() for place in AGGREGATORS)
    if (scored / LEARNED).is_file():
        from dbtssl.evaluation.aggregation.trainable import load_state

        load_state(patch, slice_, scored / LEARNED)
    predictions = part_of(spec, predicted, "test")
    sets = score_sets(
        predictions,
        patch,
        slice_,
        breast_aggregator=breast,
        patient_aggregator=patient,
        failed={},
    )
    return Units(predictions, sets)
