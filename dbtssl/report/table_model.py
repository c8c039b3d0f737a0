"""The table: one object that every rendering shows; `dbtssl.report.build_table` makes it.

Rows are ranked only against rows of the same level, subgroup, protocol and evaluation set. A method of several seeds
has a line of their mean, which is ranked, and a line for each seed, which is not. A paper's number stands beside ours
only where its protocol and evaluation set are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from pydantic import Field

from dbtssl.config import Config
from dbtssl.evaluation.catalogue import DEFAULT, TASKS
from dbtssl.interfaces import Level
from dbtssl.report.row_differences import Conditions, Unlike, difference_notes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dbtssl.evaluation.comparison.compare_methods import Difference
    from dbtssl.evaluation.probes.frozen_probes import FrozenTasks
    from dbtssl.evaluation.values import Kind, Score, Value
    from dbtssl.interfaces import Reported

PHANTOM = "phantom, not patients"
LEVELS: tuple[Level, ...] = get_args(Level)
Rank = Literal["best", "second", ""]
RANKS: tuple[Rank, Rank] = ("best", "second")
Group = tuple[Level, str, str, str]
DEFAULT_COLUMNS = ("epochs", DEFAULT[0], f"delta-{DEFAULT[0]}", *DEFAULT[1:], *TASKS, "paper")
FROZEN = "frozen features"


@dataclass(frozen=True)
class Entry:
    """One run of one method. ``score`` is None for a run that failed; ``failure`` then says why, and ``hint`` what to
    do. ``frozen`` is what its features are good for before fine-tuning, where that was asked. ``warnings`` stand beside
    the row and do not stop it. ``missing`` says of levels why they have no score.

    ``epochs_done`` and ``epochs_planned`` count pretraining: what was run, and the method's own schedule; None without
    pretraining.
    """

    method: str
    backbone: str
    finetuner: str
    seed: int
    score: Score | None
    epochs_done: int | None = None
    epochs_planned: int | None = None
    reported: tuple[Reported, ...] = ()
    failure: str = ""
    frozen: FrozenTasks | None = None
    hint: str = ""
    warnings: tuple[str, ...] = ()
    missing: Mapping[Level, str] = field(default_factory=dict)
    conditions: Conditions | None = None

    @property
    def made_under(self) -> Conditions:
        """What it was made under beside its method; of a run of an older version what is known."""
        return self.conditions or Conditions(
            finetuning={"finetune.strategy": self.finetuner},
            encoder={"backbone.name": self.backbone},
        )


class TiedMethod(Config):
    """A method whose paired difference to the best of a metric cannot be distinguished from 0, over all its seeds."""

    method: str = Field(description="name of the method")
    level: Level = Field(description="what a unit is")
    metric: str = Field(description="name of the metric")
    evaluation_set: str = Field(description="hash of the units' sorted ids and labels")


@dataclass(frozen=True)
class Compared:
    """Results of paired tests: differences to the baseline, ties with the best, and what the test set
    could show, in words."""

    baseline: str = ""
    differences: tuple[Difference, ...] = ()
    ties: tuple[TiedMethod, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """A metric of a row.

    ``sd`` is over seeds, of a row that is their mean. ``tied``: it cannot be distinguished from the best.
    ``paper`` is the paper's number in percent; None where it cannot be compared.
    """

    value: Value
    rank: Rank = ""
    paper: float | None = None
    sd: float | None = None
    tied: bool = False


@dataclass(frozen=True)
class TableRow:
    """One line. References (shortcuts and rules) have no backbone, fine-tuning, seed or epochs.

    ``frozen`` rows are of the encoder before fine-tuning. ``seeds`` are those of a mean; ``seed`` is
    that of a single run, and ``single`` says that a mean stands above it. ``differences`` to the baseline are by
    metric; ``unlike`` says what else than the method differs from the baseline. A row with ``warnings`` has a mark on
    its name, and they stand below the table.
    """

    kind: Kind
    method: str
    level: Level
    cells: Mapping[str, Cell]
    protocol: str
    protocol_digest: str
    evaluation_set: str
    subgroup: str = ""
    frozen: bool = False
    n_pos: int | None = None
    n_neg: int | None = None
    n_pos_patients: int | None = None
    n_patients: int | None = None
    threshold: float | None = None
    tp: int | None = None
    fp: int | None = None
    tn: int | None = None
    fn: int | None = None
    backbone: str = ""
    finetuner: str = ""
    seed: int | None = None
    seeds: tuple[int, ...] = ()
    failed_seeds: tuple[int, ...] = ()
    single: bool = False
    epochs_done: int | None = None
    epochs_planned: int | None = None
    diagnostic: bool = False
    failure: str = ""
    differences: Mapping[str, Difference] = field(default_factory=dict)
    unlike: Unlike = field(default_factory=dict)
    paper_source: str = ""
    hint: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def group(self) -> Group:
        """Rows of one group may be ranked together."""
        return self.level, self.subgroup, self.protocol_digest, self.evaluation_set

    @property
    def undertrained(self) -> bool:
        """Fewer epochs than the method's own schedule."""
        done, planned = self.epochs_done, self.epochs_planned
        return done is not None and planned is not None and done < planned


@dataclass(frozen=True)
class Table:
    """Title, rows in order of level (methods, then shortcuts, then rules), and the notes below.

    ``metrics`` are all that any row has; ``columns`` names those of `dbtssl.report.table_columns` that are shown.
    """

    title: str
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...]
    metrics: tuple[str, ...] = DEFAULT
    columns: tuple[str, ...] = DEFAULT_COLUMNS
    baseline: str = ""

    def unlike(self, rows: Sequence[TableRow]) -> list[str]:
        """What the marks of differences among ``rows`` mean; it stands beside the numbers even where notes do not."""
        found = {row.method: row.unlike for row in rows if row.unlike and row.differences}
        return list(difference_notes(found, self.baseline, marked=True))

    def groups(self) -> dict[Group, tuple[TableRow, ...]]:
        """Rows by level, subgroup, protocol and evaluation set, in order."""
        out: dict[Group, list[TableRow]] = {}
        for row in self.rows:
            out.setdefault(row.group, []).append(row)
        return {group: tuple(rows) for group, rows in out.items()}
