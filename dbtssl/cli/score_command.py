"""``dbtssl score``: every number again, from predictions alone; no torch, no images, and any system's file."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtssl.evaluation.protocol import Protocol
    from dbtssl.evaluation.values import Score
    from dbtssl.interfaces import Aggregator

FILE = click.Path(path_type=Path, dir_okay=False)
PLACES = ("patch", "slice", "breast", "patient")


@click.command(
    name="score", epilog="Example: dbtssl score test.parquet --val val.parquet --slice z-run"
)
@click.argument("predictions", type=FILE)
@click.option("--val", type=FILE, help="Predictions of validation patients, for thresholds.")
@click.option("--train", type=FILE, help="Predictions of training patients, for what learns.")
@click.option("--learned", type=FILE, help="aggregators.safetensors, instead of --train.")
@click.option("--labels", type=FILE, help="CSV of labels that take the place of the file's own.")
@click.option("--boxes", type=FILE, help="BCS-DBT's table of boxes, for a file of detections.")
@click.option("--protocol", "rules", default="strict", show_default=True, help="The protocol.")
@click.option("--patch", default="mean", show_default=True, help="Aggregator of patches.")
@click.option("--slice", "slice_", default="max", show_default=True, help="Of slices.")
@click.option("--breast", default="max", show_default=True, help="Of a breast's volumes.")
@click.option("--patient", default="max", show_default=True, help="Of a patient's volumes.")
@click.option(
    "--set",
    "assignments",
    metavar="PLACE.KEY=VALUE",
    multiple=True,
    help="An aggregator's option, as patch.k=5; may be given again.",
)
@click.option("--patches", type=click.IntRange(min=1), help="Use the first N of a slice's patches.")
@click.option(
    "--subset",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of SIFT-DBT's lists: score its 892 volumes as well.",
)
@click.option(
    "--logits", is_flag=True, help="The scores of a CSV file are logits, not just an order."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    predictions: Path,
    val: Path | None,
    labels: Path | None,
    boxes: Path | None,
    rules: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Score a file of predictions, of dbtssl or of any other system.

    PREDICTIONS is a Parquet file of slices, a CSV file of volumes, or a CSV file of detections (DBTex);
    docs/predictions.md lists the columns.
    """
    from dbtssl.evaluation.protocol import protocol

    kind = _kind(predictions)
    _refuse_other(ctx, predictions, kind)
    if kind == "slices":
        with _named(given):
            score = _slices(predictions, val, labels, protocol(rules), given)
    elif kind == "detections":
        _detections(predictions, boxes, labels, protocol(rules), as_json)
        return
    else:
        from dbtssl.evaluation.aggregation.volume_scores import read_labels, read_volume_scores
        from dbtssl.evaluation.score import score_volumes

        known = None if labels is None else read_labels(labels)
        score = score_volumes(
            read_volume_scores(predictions, known),
            None if val is None else read_volume_scores(val, known),
            protocol(rules),
            logits=given["logits"],
        )
    if as_json:
        click.echo(score.to_json())
    else:
        _print(predictions.stem, score)


KINDS = {
    "slices": {
        *("val", "train", "learned", "labels", "rules", "patch", "slice_", "breast", "patient"),
        *("assignments", "patches", "subset"),
    },
    "volumes": {"val", "labels", "rules", "logits"},
    "detections": {"boxes", "labels"},
}


def _kind(path: Path) -> str:
    """Which of `KINDS` a file is: a CSV file by its columns."""
    if path.suffix.lower() != ".csv":
        return "slices"
    from dbtssl.data.tables.csv_rows import csv_header
    from dbtssl.evaluation.aggregation.volume_scores import COLUMNS

    names = csv_header(path, what="file of predictions", hint=COLUMNS)
    return "detections" if {"X", "Y", "Score"} <= set(names) else "volumes"


def _refuse_other(ctx: click.Context, path: Path, kind: str) -> None:
    """An option that means nothing for this kind of file is refused, not passed over."""
    from dbtssl.errors import ConfigError

    for parameter in ctx.command.params:
        name = parameter.name or ""
        source = ctx.get_parameter_source(name)
        if (
            name not in {"predictions", "as_json", *KINDS[kind]}
            and source is not None
            and source.name == "COMMANDLINE"
        ):
            raise ConfigError(
                f"{parameter.opts[0]} means nothing for {path}, a file of {kind}",
                hint="leave it out; docs/predictions.md says what each kind of file holds",
            )


def _slices(
    path: Path, val: Path | None, labels: Path | None, rules: Protocol, given: dict[str, Any]
) -> Score:
    from dbtssl.errors import ConfigError
    from dbtssl.evaluation.aggregation.trainable import fit, load_state
    from dbtssl.evaluation.aggregation.volume_scores import read_labels
    from dbtssl.evaluation.predictions.evaluation_sets import SUB5, read_subset
    from dbtssl.evaluation.predictions.prediction_table import parse_predictions, read_parquet
    from dbtssl.evaluation.predictions.selection import refuse_shared, with_labels
    from dbtssl.evaluation.score import prepared, score
    from dbtssl.interfaces import Trainable

    known = None if labels is None else read_labels(labels)

    def read(file: Path | None, split: str) -> Any:
        if file is None:
            return None
        table = read_parquet(file)
        if known is not None:
            table = with_labels(table, known, str(file))
        return prepared(parse_predictions(table, str(file)), split, rules)

    aggregators = _aggregators(given)
    patch, slice_ = aggregators["patch"], aggregators["slice"]
    if given["train"] is not None and (
        given["learned"] is not None or not any(isinstance(a, Trainable) for a in (patch, slice_))
    ):
        raise ConfigError(
            f"--train {given['train']}: no aggregator is to be trained",
            hint="leave it out, or name one that learns: --slice attention, without --learned",
        )
    test, of_val = read(path, "test"), read(val, "validation")
    if given["learned"] is not None:
        load_state(patch, slice_, given["learned"])
    else:
        train = read(given["train"], "training")
        if train is not None:
            refuse_shared(train, test, "the training and the test predictions")
        fit(patch, slice_, train, of_val)
    subsets = {}
    if given["subset"] is not None:
        subset = read_subset(given["subset"])
        if subset is None:
            raise ConfigError(
                f"--subset {given['subset']}: SIFT-DBT's list and its subset are not both there",
                hint="it needs BCS-DBT_test_label_v2.csv and BCS-DBT_test_subset_idx_5.00.json",
            )
        subsets[SUB5] = subset
    return score(
        test,
        of_val,
        rules,
        patch,
        slice_,
        given["patches"],
        breast_aggregator=aggregators["breast"],
        patient_aggregator=aggregators["patient"],
        subsets=subsets,
    )


def _aggregators(given: dict[str, Any]) -> dict[str, Aggregator]:
    from dbtssl.config import did_you_mean, set_key
    from dbtssl.errors import ConfigError, PluginError
    from dbtssl.evaluation.aggregation.checked_aggregator import broken_promise
    from dbtssl.plugins.registry import registry

    options: dict[str, Any] = {}
    for assignment in given["assignments"]:
        set_key(options, assignment)
    if stray := sorted(set(options) - set(PLACES)):
        raise ConfigError(
            f"--set {stray[0]}: no such place.{did_you_mean(stray[0], PLACES)}",
            hint="for example --set patch.k=5",
        )
    built = {
        place: registry().build("aggregator", name, options.get(place, {}))
        for place, name in _names(given).items()
    }
    for place, one in built.items():
        if wrong := broken_promise(one):
            component = registry().component("aggregator", _names(given)[place])
            raise PluginError(f"{component}: {wrong[0]}", hint=wrong[1])
    return built


def _names(given: dict[str, Any]) -> dict[str, str]:
    """The aggregator of each place, by name."""
    return {place: given["slice_" if place == "slice" else place] for place in PLACES}


@contextmanager
def _named(given: dict[str, Any]) -> Iterator[None]:
    """An error of an aggregator begins with its name and its plugin."""
    from dbtssl.errors import PluginError

    try:
        yield
    except PluginError as exc:
        from dbtssl.benchmark.resolve import AGGREGATORS
        from dbtssl.evaluation.aggregation.checked_aggregator import of_level
        from dbtssl.plugins.registry import registry

        for place, level in AGGREGATORS.items():
            if exc.component == of_level(level):
                component = registry().component("aggregator", _names(given)[place])
                raise PluginError(f"{component}: {exc.message}", hint=exc.hint) from exc
        raise


def _detections(
    path: Path, boxes: Path | None, labels: Path | None, rules: Protocol, as_json: bool
) -> None:
    import json

    from rich.console import Console

    from dbtssl.errors import ConfigError
    from dbtssl.evaluation.localisation.detection_files import read_found
    from dbtssl.report.localisation_notes import renderable

    if boxes is None or labels is None:
        raise ConfigError(
            f"{path} is a file of detections and needs the truth",
            hint="give BCS-DBT's tables with --boxes BOXES.csv --labels LABELS.csv",
        )
    from dbtssl.evaluation.localisation.detection import detection_values

    found, patients = read_found(path, boxes, labels)
    values = detection_values(found, patients, rules.confidence)
    if as_json:
        plain = {name: value.model_dump(mode="json") for name, value in values.items()}
        click.echo(json.dumps(plain, sort_keys=True, indent=2))
    else:
        Console(highlight=False).print(renderable(path.name, values))


def _print(name: str, score: Score) -> None:
    from dataclasses import replace

    from dbtssl.evaluation.predictions.evaluation_sets import NAMES
    from dbtssl.report.build_table import build_table
    from dbtssl.report.localisation_notes import looked_notes
    from dbtssl.report.table_model import Entry
    from dbtssl.report.writers.terminal import print_table

    entry = Entry(method=name, backbone="", finetuner="", seed=0, score=score)
    table = build_table(name, [entry], phantom=score.phantom, evaluation_sets=NAMES)
    rows = tuple(replace(row, seed=None) for row in table.rows)  # the file does not say
    notes = (*table.notes, *looked_notes(score.looked))
    print_table(replace(table, rows=rows, notes=notes))
