"""The columns that a table can have: heading, text, key; for renderings and ``--cols``, ``--where``, ``--sort``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtssl.evaluation.catalogue import CATALOGUE
from dbtssl.report.table_cells import (
    WARNED,
    below_text,
    clean,
    counts_text,
    difference_interval,
    difference_text,
    epochs_text,
    mark_text,
    name_text,
    p_text,
    paper_text,
    seed_text,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbtssl.report.table_model import Cell, Table, TableRow

Key = float | str | None
DELTA, P_HOLM = "delta-", "p-holm-"


@dataclass(frozen=True)
class Column:
    """``text`` with a second line ``below``; ``key`` is what is sorted and compared, in the units that are printed.

    ``keep`` says which stay when a terminal is narrow, the highest longest.
    """

    name: str
    label: str
    meaning: str
    text: Callable[[TableRow], str]
    key: Callable[[TableRow], Key]
    below: Callable[[TableRow], str] = lambda row: ""
    numeric: bool = True
    keep: int = 0

    @property
    def metric(self) -> str:
        """The metric whose cells it shows; empty for another column."""
        return self.name if self.name in CATALOGUE else ""

    def cell(self, row: TableRow) -> Cell | None:
        """The cell with its marks."""
        return row.cells.get(self.metric)


def _attribute(name: str, label: str, meaning: str) -> Column:
    def key(row: TableRow) -> Key:
        value = getattr(row, name)
        return value if isinstance(value, int | float) else clean(value) if value else None

    def text(row: TableRow) -> str:
        value = key(row)
        return "" if value is None else f"{value:.4g}" if isinstance(value, float) else f"{value}"

    numeric = name in {"threshold", "tp", "fp", "tn", "fn", "n_pos", "n_neg", "n_pos_patients"}
    return Column(name.replace("_", "-"), label, meaning, text, key, numeric=numeric)


def _metric(name: str) -> Column:
    metric = CATALOGUE[name]
    scale = 100 if metric.unit == "percent" else 1

    def key(row: TableRow) -> Key:
        value = row.cells[name].value.value if name in row.cells else None
        return None if value is None else scale * value

    def text(row: TableRow) -> str:
        return value_text(name, row.cells[name].value) if name in row.cells else ""

    def below(row: TableRow) -> str:
        return below_text(name, row.cells[name]) if name in row.cells else ""

    return Column(name, metric.label, metric.meaning, text, key, below, keep=metric.keep)


def _difference(name: str) -> Column:
    scale = 100 if CATALOGUE[name].unit == "percent" else 1

    def key(row: TableRow) -> Key:
        d = row.differences.get(name)
        return None if d is None or d.difference is None else scale * d.difference

    return Column(
        f"{DELTA}{name}",
        f"Δ{CATALOGUE[name].label}",
        "difference to the baseline in points, paired by patient; stars are Holm-corrected; ≠ is not of the method "
        "alone",
        lambda row: (
            difference_text(row.differences.get(name)) + mark_text(row.differences.get(name), row)
        ),
        key,
        lambda row: difference_interval(row.differences.get(name)),
        keep=80,
    )


def _p_holm(name: str) -> Column:
    def p(row: TableRow) -> float | None:
        d = row.differences.get(name)
        return None if d is None else d.p_holm

    label = f"p {CATALOGUE[name].label}"
    return Column(f"{P_HOLM}{name}", label, "Holm-corrected p", lambda row: p_text(p(row)), p)


METHOD = Column(
    "method",
    "method",
    "",
    name_text,
    lambda row: clean(row.method) or None,
    numeric=False,
    keep=1000,
)
_OTHERS = (
    METHOD,
    _attribute("backbone", "encoder", ""),
    _attribute("finetuner", "fine-tuning", ""),
    Column("seed", "seed", "", seed_text, lambda row: row.seed, keep=20),
    Column(
        "epochs",
        "epochs",
        "pretraining epochs done of those of the method's own schedule",
        lambda row: "" if row.single else epochs_text(row),  # the mean above has it
        lambda row: row.epochs_done,
        keep=70,
    ),
    Column(
        "counts",
        "pos / neg (patients)",
        "abnormal and normal units, patients with an abnormal one",
        counts_text,
        lambda row: row.n_pos,
        keep=5,
    ),
    Column(
        "paper",
        "paper AUC",
        "as printed in the method's paper",
        paper_text,
        lambda row: row.cells["auc"].paper if "auc" in row.cells else None,
        keep=58,
    ),
    _attribute("kind", "kind", "method, shortcut or rule"),
    _attribute("level", "level", "what a unit is"),
    _attribute("subgroup", "subgroup", "which units"),
    _attribute("protocol", "protocol", "name and version"),
    _attribute("evaluation_set", "evaluation set", "hash of ids and labels"),
    _attribute("n_pos", "abnormal", "abnormal units"),
    _attribute("n_neg", "normal", "normal units"),
    _attribute("n_pos_patients", "positive patients", ""),
    _attribute("threshold", "threshold", "on the score's scale"),
    *(_attribute(name, name.upper(), "") for name in ("tp", "fp", "tn", "fn")),
    _attribute("failure", "failure", "why there is no score"),
)
COLUMNS: dict[str, Column] = {c.name: c for c in _OTHERS} | {
    column.name: column
    for make in (_metric, _difference, _p_holm)
    for column in map(make, CATALOGUE)
}
"""Every column by the name that a user types."""


def shown_columns(table: Table, rows: Sequence[TableRow]) -> list[Column]:
    """The columns of one group of rows: what is chosen, without those that are empty, the method first.

    Encoder, fine-tuning and seed stand in the heading where all rows share them (`shared`), and below the method where
    they do not.
    """
    chosen = [COLUMNS[name] for name in table.columns if name != "method"]
    return [METHOD, *(c for c in chosen if any(c.text(row) for row in rows))]


def shared(rows: Sequence[TableRow]) -> list[str]:
    """What all methods of a group have in common, in words."""
    runs = [row for row in rows if row.kind == "method"]
    out = []
    for name, words in (("backbone", "{}"), ("finetuner", "{} fine-tuning"), ("seed", "seed {}")):
        values = {getattr(row, name) for row in runs}
        if len(values) == 1 and (value := values.pop()) not in (None, ""):
            out.append(words.format(clean(f"{value}")))
    return out


def own(row: TableRow, rows: Sequence[TableRow]) -> str:
    """What a method does not share with the others of its group, for the line below its name."""
    if row.kind != "method":
        return ""
    common = shared(rows)
    seed = seed_text(row) if row.seed is None else f"seed {row.seed}"
    backbone, finetuner = clean(row.backbone), clean(row.finetuner)
    said = {backbone: backbone, finetuner: f"{finetuner} fine-tuning", seed: seed}
    warned = f"{seed} {WARNED}" if row.single and row.warnings else seed
    details = (
        [warned] if row.single else [part for part, words in said.items() if words not in common]
    )
    if row.failure:
        details.append("failed")
    return ", ".join(filter(None, details))
