"""From one score a volume, of whatever system, to all numbers that it allows: volumes, breasts and patients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.evaluation.measures import PROBABILITIES, in_unit_interval
from dbtssl.evaluation.score import NO_BREASTS, score_units
from dbtssl.evaluation.selection import refuse_shared
from dbtssl.evaluation.shortcuts import BY_STUDY, all_normal, fewer_volumes
from dbtssl.evaluation.values import Score

if TYPE_CHECKING:
    from dbtssl.evaluation.protocol import Protocol
    from dbtssl.evaluation.volume_scores import VolumeScores

NO_SLICES = "No slice level, no frames and no places: the file holds one score a volume."


def score_volumes(
    test: VolumeScores, val: VolumeScores | None, protocol: Protocol, *, logits: bool = False
) -> Score:
    """Score ``test`` with thresholds from ``val``; `DataError` for no volume left, and for a patient in both.

    Without ``logits`` scores are taken for their order alone, and nothing is said of probabilities; nor where all of
    the file's scores lie in [0, 1].
    """
    probabilities = logits and in_unit_interval(test.scores)
    uncalibrated = PROBABILITIES if probabilities else ""
    logits = logits and not probabilities
    if protocol.actionable == "drop":
        test = test.without_actionable()
        val = None if val is None else val.without_actionable()
    if val is not None:
        refuse_shared(val, test, "the validation and the test file")
    sets = test.sets()
    beside = {} if val is None else {s.level: s for s in val.sets()}
    by_study = test.sets(fewer_volumes(test)) if all(test.studies) else ()
    val_by_study = {}
    if val is not None and all(val.studies):
        val_by_study = {s.level: s for s in val.sets(fewer_volumes(val))}
    rows = []
    for i, units in enumerate(sets):
        of_val = beside.get(units.level)
        method = score_units(units, of_val, protocol, logits=logits, uncalibrated=uncalibrated)
        rows.append(method)
        if by_study:
            of_val = val_by_study.get(units.level)
            rows.append(score_units(by_study[i], of_val, protocol, "shortcut", BY_STUDY))
        rows.append(all_normal(method))
    breasts = any(s.level == "breast" for s in sets)
    return Score(
        protocol=protocol,
        slice_aggregator="",
        volume_aggregator="",
        patches=0,
        rows=tuple(rows),
        notes=(NO_SLICES,) if breasts else (NO_BREASTS, NO_SLICES),
    )
