"""The text of a cell, the same in every rendering, and the cleaning of names that plugins bring."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from dbtssl.evaluation.catalogue import CATALOGUE
from dbtssl.report.row_differences import unlike_text

if TYPE_CHECKING:
    from dbtssl.evaluation.comparison.compare_methods import Difference
    from dbtssl.evaluation.values import Value
    from dbtssl.report.table_model import Cell, TableRow

METRIC_NAMES = {name: metric.label for name, metric in CATALOGUE.items()}
WARNED = "(!)"
"""The mark on the name of a row with warnings, in plain characters: every terminal and every font has them."""
STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
"""Stars of a Holm-corrected p below each bound; no other p has any."""


def clean(text: str) -> str:
    """One line without control, formatting or bidirectional characters: plugins' names are not to be trusted."""
    spaced = " ".join(text.split())
    return "".join(c for c in spaced if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co"})


def name_text(row: TableRow) -> str:
    """The method's name, with a mark where the row has warnings."""
    name = clean(row.method)
    return f"{name} {WARNED}" if row.warnings else name


def value_text(metric: str, value: Value) -> str:
    """``84.2`` in percent where the metric is a fraction, else the number; or nothing."""
    return "" if value.value is None else CATALOGUE[metric].show(value.value)


def interval_text(metric: str, value: Value) -> str:
    """``[77.1, 90.5]``, or nothing."""
    if value.low is None or value.high is None:
        return ""
    show = CATALOGUE[metric].show
    return f"[{show(value.low)}, {show(value.high)}]"


def spread_text(metric: str, cell: Cell) -> str:
    """``± 1.3``: the standard deviation over seeds; or nothing."""
    return "" if cell.sd is None else f"± {CATALOGUE[metric].show(cell.sd)}"


def below_text(metric: str, cell: Cell) -> str:
    """What belongs to a value: the standard deviation over seeds, else the interval."""
    return spread_text(metric, cell) or interval_text(metric, cell.value)


def difference_text(difference: Difference | None) -> str:
    """``+6.2``, in points of percent for a fraction; nothing if there is no difference."""
    if difference is None or difference.difference is None:
        return ""
    text = CATALOGUE[difference.metric].show(difference.difference)
    return _signed(text)


def difference_interval(difference: Difference | None) -> str:
    """``[-1.0, +13.4]``, or nothing."""
    if difference is None or difference.low is None or difference.high is None:
        return ""
    show = CATALOGUE[difference.metric].show
    return f"[{_signed(show(difference.low))}, {_signed(show(difference.high))}]"


def stars_text(difference: Difference | None) -> str:
    """Stars of the Holm-corrected p alone; nothing if there is none."""
    if difference is None or difference.p_holm is None:
        return ""
    p = difference.p_holm
    return next((stars for bound, stars in STARS if p < bound), "")


def mark_text(difference: Difference | None, row: TableRow) -> str:
    """What stands beside a difference: stars, or what else than the method differs; nothing beside an empty one."""
    if difference is None or difference.difference is None:
        return ""
    return unlike_text(row.unlike) or stars_text(difference)


def p_text(p: float | None) -> str:
    """``0.032``, ``< 0.001``, or nothing."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _signed(text: str) -> str:
    """With a sign: minus, plus, or none where the rounded number is 0."""
    if not text.strip("-0."):
        return text.removeprefix("-")
    return text if text.startswith("-") else f"+{text}"


def paper_text(row: TableRow) -> str:
    """The paper's AUC as printed there, or nothing; the other metrics' are in the CSV and JSON renderings."""
    cell = row.cells.get("auc")
    return "" if cell is None or cell.paper is None else f"{cell.paper:.2f}"


def epochs_text(row: TableRow) -> str:
    """``20/4000``: done of planned; nothing without pretraining."""
    if row.epochs_done is None:
        return ""
    return f"{row.epochs_done}" + ("" if row.epochs_planned is None else f"/{row.epochs_planned}")


def seed_text(row: TableRow) -> str:
    """The seed, ``3 seeds``, ``2 seeds, 1 failed``, or nothing for a reference."""
    if row.seed is not None:
        return f"{row.seed}"
    if not (row.seeds or row.failed_seeds):
        return ""
    text = f"{len(row.seeds)} seed{'' if len(row.seeds) == 1 else 's'}"
    return f"{text}, {len(row.failed_seeds)} failed" if row.failed_seeds else text


def counts_text(row: TableRow) -> str:
    """``39 / 3,736 (21)``: abnormal and normal units, patients with an abnormal one."""
    if row.n_pos is None:
        return ""
    return f"{row.n_pos:,} / {row.n_neg:,} ({row.n_pos_patients:,})"


def heading_text(row: TableRow) -> str:
    """What all rows of a group share."""
    if row.frozen:
        return (
            f"{row.protocol}, before fine-tuning, {row.level} level, {row.n_patients:,} test patients, "
            f"evaluation set {row.evaluation_set[:8]}"
        )
    of = f", {row.subgroup}" if row.subgroup else ""
    name = (
        f"{row.level} level{of}, protocol {row.protocol}, evaluation set {row.evaluation_set[:8]}"
    )
    if row.n_pos is None:
        return name
    return (
        f"{name}: {row.n_pos:,} abnormal and {row.n_neg:,} normal {row.level}s, "
        f"{row.n_pos_patients:,} of {row.n_patients:,} patients positive"
    )
