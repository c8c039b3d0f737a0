"""From predictions to all numbers of a table: the method and its references, at every level and in subgroups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbtssl.errors import ConfigError, DataError, PluginError
from dbtssl.evaluation.aggregation.apply import score_sets
from dbtssl.evaluation.localisation.pointing import looked
from dbtssl.evaluation.metrics.measure import PROBABILITIES, in_unit_interval, measure
from dbtssl.evaluation.metrics.patch_curve import patch_curve
from dbtssl.evaluation.predictions.prediction_table import Predictions, parse_predictions
from dbtssl.evaluation.predictions.selection import (
    enough,
    only,
    refuse_shared,
    strata,
    unboxed,
    with_first_patches,
    with_lesion_window,
    without_actionable,
)
from dbtssl.evaluation.shortcuts import BY_STUDY, all_normal, fewer_volumes, shortcut_sets
from dbtssl.evaluation.values import Missing, Score

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pyarrow as pa

    from dbtssl.evaluation.aggregation.volume_scores import VolumeScores
    from dbtssl.evaluation.protocol import Protocol
    from dbtssl.evaluation.score_set import ScoreSet
    from dbtssl.evaluation.values import Kind, Row
    from dbtssl.interfaces import Aggregator, Level


NO_BREASTS = "No breast level: the file does not say study and view."
NO_WINDOW = (
    "Slices of the {} split are labelled as the file has them, not by the protocol's lesion window: an abnormal volume "
    "has no box."
)
SMALL = (
    "All scores at {} level lie between 0 and 1. They are taken for logits; if the fine-tuner or the aggregator gives "
    "probabilities, calibration and a threshold of one half are wrong."
)
OTHER_PREVALENCE = "a subgroup has not the prevalence of all of validation"


def score(
    test: Predictions | pa.Table,
    val: Predictions | pa.Table | None,
    protocol: Protocol,
    slice_aggregator: Aggregator,
    volume_aggregator: Aggregator,
    patches: int | None = None,
    *,
    breast_aggregator: Aggregator | None = None,
    patient_aggregator: Aggregator | None = None,
    subsets: Mapping[str, Collection[str]] | None = None,
    go_on: bool = False,
) -> Score:
    """Score the test predictions at every level, with thresholds from the validation predictions.

    ``patches`` is how many of a slice's logits are used, the first ones; None takes all. Aggregators come fitted.
    Without ``val`` what needs a threshold of validation is left out with a reason. ``subsets`` names parts of the test
    set by the ids of their volumes; they are scored like the whole and are evaluation sets of their own. ``go_on``
    leaves out a level whose aggregator fails, with the reason in `Score.missing`; else its `PluginError` is raised, as
    that of the slices always is. The logits of a file that says its schema are logits; those of another, where all lie
    in [0, 1], are taken for probabilities.

    `DataError` for a table that is not one of predictions, for no volume left, and for a patient in both splits;
    `ConfigError` for predictions whose patches the protocol does not allow.
    """
    test = prepared(test, "test", protocol)
    val = None if val is None else prepared(val, "validation", protocol)
    if patches is not None:
        test = with_first_patches(test, patches)
        val = None if val is None else with_first_patches(val, patches)
    if val is not None:
        refuse_shared(val, test, "the validation and the test split")

    failed: dict[Level, PluginError] = {}

    def sets(p: Predictions) -> tuple[ScoreSet, ...]:
        found = score_sets(
            p,
            slice_aggregator,
            volume_aggregator,
            None,
            breast_aggregator,
            patient_aggregator,
            failed if go_on else None,
        )
        return tuple(units for units in found if units.level not in failed)

    of_val = None if val is None else (val, sets(val))
    whole = sets(test)
    probabilities = not test.made.schema and in_unit_interval(test.logits)
    rows = [
        *_rows(test, whole, of_val, protocol, probabilities=probabilities),
        *subgroup_rows(test, whole, of_val, protocol, probabilities=probabilities),
    ]
    for name, volumes in (subsets or {}).items():
        part = only(test, np.array([v in volumes for v in test.volumes], dtype=np.bool_))
        if not part.volumes:
            raise DataError(f"no volume of the subset {name} is in the test predictions")
        rows += _rows(part, sets(part), of_val, protocol, probabilities=probabilities)
    told = "breast" in failed or any(s.level == "breast" for s in whole)
    notes = [] if told else [NO_BREASTS]
    for split, p in (("test", test), ("validation", val)):
        if p is not None and unboxed(p):
            notes.append(NO_WINDOW.format(split))
    if small := [s.level for s in whole if in_unit_interval(s.scores) and not probabilities]:
        notes.append(SMALL.format(", ".join(small)))
    return Score(
        protocol=protocol,
        slice_aggregator=type(slice_aggregator).__name__,
        volume_aggregator=type(volume_aggregator).__name__,
        patches=int(np.diff(test.offsets).min()),
        inference=test.made.inference,
        rows=tuple(rows),
        patch_curve=patch_curve(
            test,
            protocol,
            slice_aggregator,
            None if "volume" in failed else volume_aggregator,
        ),
        looked=looked(test, whole[0].scores, protocol),
        phantom=test.made.phantom,
        notes=tuple(notes),
        missing={
            level: Missing(reason=exc.message, hint=exc.hint, component=exc.component)
            for level, exc in failed.items()
        },
    )


def score_units(
    test: ScoreSet,
    val: ScoreSet | None,
    protocol: Protocol,
    kind: Kind = "method",
    name: str = "",
    *,
    logits: bool = True,
    uncalibrated: str = "",
) -> Row:
    """All metrics of one set of units; those of probabilities only for a method whose scores are logits."""
    logits = logits and kind == "method"
    return measure(test, val, protocol, kind, name, logits=logits, uncalibrated=uncalibrated)


def prepared(predictions: Predictions | pa.Table, split: str, protocol: Protocol) -> Predictions:
    """Checked, labelled by the protocol's lesion window, and without what it leaves out.

    ``split`` is test, or val or train (validation, training), which a file that says it is of another is not taken for.
    """
    if not isinstance(predictions, Predictions):
        predictions = parse_predictions(predictions, f"{split} predictions")
    inference = predictions.made.inference
    if inference and (inference == "oracle") != protocol.diagnostic:
        raise ConfigError(
            f"the {split} predictions were made with {inference} patches; protocol {protocol.name} has "
            f"{protocol.test_patches} ones",
            hint="oracle patches are for as-published alone: predict again under the protocol that you score with",
        )
    said = predictions.made.split
    if said and not split.startswith("test") and not split.startswith(said):
        raise ConfigError(
            f"the {split} predictions are of the {said} split: their file says so",
            hint="thresholds are chosen on validation patients, aggregators learn from training patients",
        )
    predictions = with_lesion_window(predictions, *protocol.lesion_window)
    if protocol.actionable == "drop":
        predictions = without_actionable(predictions)
    if not predictions.volumes:
        raise DataError(
            f"no volume is left in the {split} split once Actionable ones are left out",
            hint="take more patients, or another split seed",
        )
    return predictions


def _rows(
    test: Predictions,
    sets: Sequence[ScoreSet],
    of_val: tuple[Predictions, Sequence[ScoreSet]] | None,
    protocol: Protocol,
    *,
    probabilities: bool,
) -> list[Row]:
    """The method, the shortcuts and the fixed rule at every level."""
    shortcuts = shortcut_sets(test, *sets)
    beside = {} if of_val is None else {s.level: s for s in of_val[1]}
    of_shortcuts = {} if of_val is None else shortcut_sets(of_val[0], *of_val[1])
    rows = []
    for units in sets:
        method = score_units(
            units,
            beside.get(units.level),
            protocol,
            logits=not probabilities,
            uncalibrated=PROBABILITIES if probabilities else "",
        )
        rows.append(method)
        for name, levels in shortcuts.items():
            known = {s.level: s for s in of_shortcuts.get(name, ())}
            scored = [s for s in levels if s.level == units.level]
            rows += [score_units(s, known.get(s.level), protocol, "shortcut", name) for s in scored]
        rows.append(all_normal(method))
    return rows


def subgroup_rows(
    test: Predictions,
    sets: Sequence[ScoreSet],
    of_val: tuple[Predictions, Sequence[ScoreSet]] | None,
    protocol: Protocol,
    *,
    probabilities: bool = False,
) -> list[Row]:
    """The method on each subgroup of slices and volumes, at the threshold of all; none of under ten of a class."""
    rows = []
    of_level = {} if of_val is None else {s.level: s for s in of_val[1]}
    for units in sets:
        if units.level not in ("slice", "volume"):
            continue
        beside = of_level.get(units.level)
        for name, volumes in strata(test).items():
            part = units.only(volumes[test.volume] if units.level == "slice" else volumes)
            if enough(part.abnormal):
                row = score_units(
                    part,
                    beside,
                    protocol,
                    logits=not probabilities,
                    uncalibrated=PROBABILITIES if probabilities else OTHER_PREVALENCE,
                )
                rows.append(row.model_copy(update={"subgroup": name}))
    return rows


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
