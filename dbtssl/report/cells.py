"""The text of a cell, the same in every rendering, and the cleaning of names that plugins bring."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from dbtssl.evaluation.metrics import METRICS

if TYPE_CHECKING:
    from dbtssl.evaluation.values import Value
    from dbtssl.report.table import TableRow

METRIC_NAMES = {name: name.upper() for name in METRICS}
# NPV runs from 99.5 to 100 % at a prevalence of 1 %, so one decimal would not tell two rows apart.
DECIMALS = dict.fromkeys(METRICS, 1) | {"npv": 2}


def clean(text: str) -> str:
    """One line without control, formatting or bidirectional characters: plugins' names are not to be trusted."""
    spaced = " ".join(text.split())
    return "".join(c for c in spaced if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co"})


def value_text(metric: str, value: Value) -> str:
    """``84.2`` in percent, or nothing."""
    return "" if value.value is None else f"{100 * value.value:.{DECIMALS[metric]}f}"


def interval_text(metric: str, value: Value) -> str:
    """``[77.1, 90.5]`` in percent, or nothing."""
    if value.low is None or value.high is None:
        return ""
    digits = DECIMALS[metric]
    return f"[{100 * value.low:.{digits}f}, {100 * value.high:.{digits}f}]"


def paper_text(row: TableRow) -> str:
    """The paper's AUC as printed there, or nothing; the other metrics' are in the CSV and JSON renderings."""
    paper = row.cells["auc"].paper
    return "" if paper is None else f"{paper:.2f}"


def epochs_text(row: TableRow) -> str:
    """``20/4000``: done of planned; nothing without pretraining."""
    if row.epochs_done is None:
        return ""
    return f"{row.epochs_done}" + ("" if row.epochs_planned is None else f"/{row.epochs_planned}")


def seed_text(row: TableRow) -> str:
    """The seed, or nothing for a reference."""
    return "" if row.seed is None else f"{row.seed}"


def counts_text(row: TableRow) -> str:
    """``39 / 3,736 (21)``: abnormal and normal units, patients with an abnormal one."""
    if row.n_pos is None:
        return ""
    return f"{row.n_pos:,} / {row.n_neg:,} ({row.n_pos_patients:,})"


def heading_text(row: TableRow) -> str:
    """What all rows of a group share."""
    name = f"{row.level} level, protocol {row.protocol}, evaluation set {row.evaluation_set[:8]}"
    if row.n_pos is None:
        return name
    return (
        f"{name}: {row.n_pos:,} abnormal and {row.n_neg:,} normal {row.level}s, "
        f"{row.n_pos_patients:,} of {row.n_patients:,} patients positive"
    )
