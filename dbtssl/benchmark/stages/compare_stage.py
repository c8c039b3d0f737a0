"""The stage that compares the methods of a benchmark: each with the baseline, and each with the best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, ValidationError

from dbtssl.benchmark.resolve import AGGREGATORS, aggregator
from dbtssl.benchmark.stages.context import stage_label
from dbtssl.benchmark.stages.scored_units import test_units
from dbtssl.config import Config, canonical_json
from dbtssl.engine.store import Stage
from dbtssl.errors import DataError
from dbtssl.evaluation.catalogue import CATALOGUE, COMPARED, TESTED
from dbtssl.evaluation.comparison.compare_methods import Difference, compare, indistinguishable
from dbtssl.evaluation.comparison.minimum_difference import smallest_difference
from dbtssl.evaluation.quantity import EQUAL_DECIMALS
from dbtssl.evaluation.values import Score
from dbtssl.io import write_text
from dbtssl.report.table_model import Compared, TiedMethod

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dbtssl.benchmark.spec.specification import Spec
    from dbtssl.engine.store import Output
    from dbtssl.evaluation.score_set import ScoreSet
    from dbtssl.interfaces import Level

COMPARE_VERSION = 3
FILE = "comparison.json"
BASELINE = "random-init"  # unless the specification names another row


class Comparison(Config):
    """What the stage leaves."""

    baseline: str = Field(description="the row that others are compared with; empty: none")
    differences: tuple[Difference, ...] = Field(description="of every method to the baseline")
    ties: tuple[TiedMethod, ...] = Field(
        description="methods that cannot be distinguished from the best"
    )
    notes: tuple[str, ...] = Field(description="what the test set could show, in words")

    def compared(self) -> Compared:
        """As the table takes it."""
        return Compared(self.baseline, self.differences, self.ties, self.notes)


def comparison_stage(spec: Spec, parts: Sequence[tuple[str, int, Output, Output]]) -> Stage:
    """Compare ``parts``: row, seed, and the outputs of its prediction and its score."""

    def run(folder: Path) -> None:
        found = _comparison(spec, parts)
        write_text(folder / FILE, canonical_json(found))

    return Stage(
        name="compare",
        label=stage_label(spec, "all rows"),
        version=COMPARE_VERSION,
        config={
            "baseline": _baseline(spec, [name for name, *_ in parts]),
            "protocol": spec.rules.rules,
            "aggregators": {place: aggregator(spec, place).key() for place in AGGREGATORS},
            "rows": [[name, seed] for name, seed, *_ in parts],
        },
        parents={
            f"{name}, seed {seed}: {what.folder.parent.parent.name}": what.content
            for name, seed, *outputs in parts
            for what in outputs
        },
        outputs=(FILE,),
        run=run,
    )


def read_comparison(folder: Path) -> Comparison:
    """What a stage left; `DataError` where it cannot be read."""
    try:
        return Comparison.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        raise DataError(
            f"{folder / FILE} cannot be read", hint="remove its folder and run again"
        ) from None


def _comparison(spec: Spec, parts: Sequence[tuple[str, int, Output, Output]]) -> Comparison:
    chosen = spec.rules
    sets: dict[Level, dict[str, list[ScoreSet]]] = {}
    values: dict[tuple[Level, str, str], list[float | None]] = {}
    for name, _, predicted, scored in parts:
        for units in test_units(spec, predicted.folder, scored.folder).sets:
            sets.setdefault(units.level, {}).setdefault(name, []).append(units)
        score = Score.from_json((scored.folder / "score.json").read_text(encoding="utf-8"))
        for row in score.rows:
            if row.kind == "method" and not row.subgroup:
                for metric in COMPARED:
                    known = row.values[metric].value if metric in row.values else None
                    values.setdefault((row.level, name, metric), []).append(known)
    baseline = _baseline(spec, [name for name, *_ in parts])
    differences: list[Difference] = []
    ties: list[TiedMethod] = []
    notes: list[str] = []
    for level, methods in sets.items():
        if len(methods) < 2 or chosen.diagnostic:
            continue
        if baseline:
            to_baseline = compare(methods, baseline, confidence=chosen.confidence)
            differences += to_baseline
            for metric in TESTED:
                if metric != "auc" and CATALOGUE[metric].is_of(level):
                    differences += compare(
                        methods, baseline, metric=metric, confidence=chosen.confidence
                    )
            said = smallest_difference(to_baseline, confidence=chosen.confidence).words()
            notes.append(f"{level.capitalize()} level: {said}")
        for metric in COMPARED:
            means = {n: _mean(values.get((level, n, metric), [])) for n in methods}
            if best := _best(means, metric):
                scored_methods = {n: s for n, s in methods.items() if means[n] is not None}
                for name in indistinguishable(
                    scored_methods,
                    best,
                    metric=metric,
                    confidence=chosen.confidence,
                    rule=chosen.specificity_rule,
                ):
                    first = methods[name][0].evaluation_set
                    ties.append(
                        TiedMethod(method=name, level=level, metric=metric, evaluation_set=first)
                    )
    return Comparison(
        baseline=baseline, differences=tuple(differences), ties=tuple(ties), notes=tuple(notes)
    )


def _baseline(spec: Spec, names: Sequence[str]) -> str:
    """The baseline of the specification, if it is among the rows that have a score."""
    wanted = spec.baseline or BASELINE
    return wanted if wanted in names else ""


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _best(means: Mapping[str, float | None], metric: str) -> str:
    """The best of a metric, of equals the row that stands first; empty where fewer than two differ."""
    known = {
        name: round(value, EQUAL_DECIMALS) for name, value in means.items() if value is not None
    }
    if len(set(known.values())) < 2:
        return ""
    sign = -1.0 if CATALOGUE[metric].direction == "lower" else 1.0
    return max(known, key=lambda name: sign * known[name])
