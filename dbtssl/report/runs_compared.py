"""Runs side by side, as data and in words: differences, what was changed, and which patients moved."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from pydantic import Field
from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from dbtssl.config import Config
from dbtssl.evaluation.comparison.compare_methods import Difference
from dbtssl.evaluation.values import Value
from dbtssl.interfaces import Level
from dbtssl.report.table_cells import (
    clean,
    difference_interval,
    difference_text,
    p_text,
    stars_text,
    value_text,
)
from dbtssl.report.writers.markdown import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

LEGEND = (
    "AUC in percent, differences in points: the later run minus run A on the same patients. Stars are of p, "
    "Holm-corrected over the methods of one level and run: * p < 0.05, ** p < 0.01, *** p < 0.001."
)
MOVED = (
    "A patient's rank is that of the highest volume score among all test patients, 1 the most suspicious, mean over "
    "seeds."
)


class Pair(Config):
    """One method of one later run against the same of the first; ``refusal`` says why they cannot be subtracted."""

    run: str = Field(description="letter of the later run")
    method: str = Field(description="name of the row")
    level: Level = Field(description="what a unit is")
    before: Value = Field(description="AUC of run A, mean over seeds")
    after: Value = Field(description="AUC of the later run, mean over seeds")
    difference: Difference | None = Field(default=None, description="later run minus run A")
    refusal: str = Field(default="", description="why there is no difference")


class Change(Config):
    """Something that the runs do not share; ``values`` are by run, None where a run has no such key."""

    name: str = Field(description="key of the specification, library, or hash")
    values: tuple[str | None, ...] = Field(description="as text, one a run")


class RankChange(Config):
    """A patient whose rank moved."""

    run: str = Field(description="letter of the later run")
    method: str = Field(description="name of the row")
    patient: str = Field(description="id of the prepared data set")
    abnormal: bool = Field(description="whether the patient has an abnormal volume")
    before: float = Field(description="rank in run A, mean over seeds")
    after: float = Field(description="rank in the later run")
    patients: int = Field(description="patients that are ranked")


class RunsCompared(Config):
    """Everything that ``dbtssl compare`` says."""

    runs: tuple[str, ...] = Field(description="names of the runs; the first is A")
    pairs: tuple[Pair, ...] = Field(description="differences, and refusals")
    config: tuple[Change, ...] = Field(description="keys of the specification that differ")
    environment: tuple[Change, ...] = Field(description="versions and devices that differ")
    components: tuple[Change, ...] = Field(
        default=(), description="components whose distribution, version or code differs"
    )
    data: tuple[Change, ...] = Field(description="hashes that differ")
    moved: tuple[RankChange, ...] = Field(description="patients whose rank moved most")
    notes: tuple[str, ...] = Field(default=(), description="what is not compared, and why")

    def letters(self) -> tuple[str, ...]:
        """A, B, C ..."""
        return letters(len(self.runs))


def letters(count: int) -> tuple[str, ...]:
    """A, B, C ... for the given number of runs."""
    return tuple(chr(ord("A") + i) for i in range(count))


Lines = tuple[tuple[str, ...], "list[tuple[str, ...]]"]


def as_json(found: RunsCompared) -> str:
    """One JSON object, shares in [0, 1]."""
    return json.dumps(found.model_dump(mode="json"), indent=1, sort_keys=True, allow_nan=False)


def sections(found: RunsCompared) -> Iterable[tuple[str, Lines, str]]:
    """Title, heading with lines, and a word below, of each part that has something to say."""
    runs = [f"{x}" for x in found.letters()]
    if found.pairs:
        heading = ("run", "method", "level", "AUC A", "AUC", "ΔAUC", "95 % interval", "p (Holm)")
        yield "Differences", (heading, [_pair(pair) for pair in found.pairs]), LEGEND
    parts = (
        ("Specification: what was changed", found.config),
        ("Environment: what differs", found.environment),
        ("Code of the components: what differs", found.components),
        ("Data and protocol: hashes that differ", found.data),
    )
    for title, changes in parts:
        lines = [(clean(c.name), *(clean(v or "") for v in c.values)) for c in changes]
        if lines:
            yield title, (("", *runs), lines), ""
        else:
            yield f"{title.partition(':')[0]}: the same", ((), []), ""
    if found.moved:
        columns = ("run", "method", "patient", "", "rank in A", "rank", "moved")
        title = f"Patients whose rank moved most, of {found.moved[0].patients}"
        yield title, (columns, [_moved(m) for m in found.moved]), MOVED


def renderable(found: RunsCompared) -> RenderableType:
    """What rich prints."""
    parts: list[RenderableType] = [
        Text(f"{letter}  {clean(name)}", style="bold")
        for letter, name in zip(found.letters(), found.runs, strict=True)
    ]
    for title, (heading, lines), below in sections(found):
        parts += [Text(), Text(title, style="bold")]
        if heading:
            table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
            for i, name in enumerate(heading):
                table.add_column(name, overflow="fold", justify=_justify(lines, i))
            for line in lines:
                table.add_row(*map(Text, line))
            parts.append(table)
        if below:
            parts.append(Text(below, style="dim"))
    parts += [Text(f"• {clean(note)}", style="dim") for note in _notes(found)]
    return Group(*parts)


def markdown(found: RunsCompared) -> str:
    """The same in Markdown."""
    names = zip(found.letters(), found.runs, strict=True)
    parts = ["## Runs compared", "\n".join(f"* {x}: {escape(name)}" for x, name in names)]
    for title, (heading, lines), below in sections(found):
        parts.append(f"### {escape(title)}")
        if heading:
            rule = ["--:" if _justify(lines, i) == "right" else ":--" for i in range(len(heading))]
            rows = [list(map(escape, heading)), rule, *(list(map(escape, x)) for x in lines)]
            parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
        if below:
            parts.append(escape(below))
    if notes := _notes(found):
        parts.append("\n".join(f"* {escape(note)}" for note in notes))
    return "\n\n".join(parts) + "\n"


def _notes(found: RunsCompared) -> list[str]:
    refused = [
        f"{pair.method}, {pair.level} level, run {pair.run}: not subtracted, {pair.refusal}."
        for pair in found.pairs
        if pair.refusal
    ]
    unsure = [
        f"{pair.method}, {pair.level} level, run {pair.run}: {pair.difference.reason}."
        for pair in found.pairs
        if pair.difference and pair.difference.reason
    ]
    return [*refused, *unsure, *found.notes]


def _pair(pair: Pair) -> tuple[str, ...]:
    d = pair.difference
    return (
        pair.run,
        clean(pair.method),
        pair.level,
        value_text("auc", pair.before),
        value_text("auc", pair.after),
        difference_text(d) + stars_text(d),
        difference_interval(d),
        p_text(d.p_holm) if d else "",
    )


def _moved(m: RankChange) -> tuple[str, ...]:
    return (
        m.run,
        clean(m.method),
        clean(m.patient),
        "abnormal" if m.abnormal else "normal",
        _rank(m.before),
        _rank(m.after),
        f"{'+' if m.after > m.before else ''}{_rank(m.after - m.before)}",
    )


def _rank(rank: float) -> str:
    """Whole where it is; a mean over seeds with one decimal."""
    return f"{rank:.0f}" if rank == round(rank) else f"{rank:.1f}"


def _justify(lines: Sequence[tuple[str, ...]], column: int) -> Literal["left", "right"]:
    """Numbers to the right, words to the left."""
    texts = [line[column] for line in lines if line[column]]
    return "right" if texts and all(t[0] in "0123456789+-<[" for t in texts) else "left"
