"""The notes below a table: the protocol in words, what the sample allows, and why cells are empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.evaluation.catalogue import DEFAULT, TASKS
from dbtssl.evaluation.quantity import EQUAL_DECIMALS
from dbtssl.report.row_differences import unlike_notes
from dbtssl.report.table_cells import METRIC_NAMES, WARNED, interval_text, value_text
from dbtssl.report.table_model import FROZEN, LEVELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dbtssl.interfaces import Level, Reported
    from dbtssl.report.table_model import Compared, Entry, Group, TableRow


ENOUGH_POSITIVE_PATIENTS = 30
"""Below it intervals are too narrow: in simulations of SIFT-DBT's test layout (21 positive patients of 843) the best of
the methods that were tried, the one used here, held the true AUC in 90 to 94 % of draws instead of 95 %."""

LEGEND = (
    "Percent. Bold is the best value, underlined the second, among the methods of one level, protocol and evaluation "
    "set; shortcuts, all-normal and single seeds of several are not ranked. 'volumes in the study' takes fewer "
    "volumes, 'frames in the volume' more frames, and 'depth in the stack' nearness to 0.43 of the stack, where most "
    "lesions of BCS-DBT are, as the sign of an abnormality, without looking at an image; "
    "'all-normal' calls everything normal."
)

SEEDS = "Several seeds: mean ± standard deviation over the seeds that finished, each seed below its mean."


def table_notes(
    entries: Sequence[Entry],
    rows: Sequence[TableRow],
    evaluation_sets: Mapping[str, str],
    compared: Compared,
) -> tuple[str, ...]:
    """All notes in order; equal ones once."""
    notes = [LEGEND]
    if any(row.seeds for row in rows):
        notes.append(SEEDS)
    notes += _differences(rows, compared)
    notes += unlike_notes(
        {entry.method: entry.made_under for entry in entries if entry.score},
        compared.baseline,
        marked=any(row.unlike and row.differences for row in rows),
    )
    notes += dict.fromkeys(e.score.protocol.words() for e in entries if e.score)
    notes += _of_scores([e for e in entries if e.score])
    notes += dict.fromkeys(words for e in entries if e.frozen for words in e.frozen.words())
    notes += _strongest_shortcut(rows)
    notes += dict.fromkeys(_small_sample(rows))
    notes += _undertrained(rows)
    notes += _empty(rows)
    notes += _papers_shown(rows)
    notes += _paper(entries, evaluation_sets)
    notes += _warned(entries)
    for e in entries:
        if e.score is None:
            why = with_hint(e.failure or "no reason given", e.hint)
            notes.append(f"{e.method}, seed {e.seed}, failed: {why}.")
        notes += [
            f"{e.method}, seed {e.seed} ({levels}), failed: {why.rstrip('.')}."
            for levels, why in of_levels(e.missing).items()
        ]
    return tuple(notes)


def of_levels(missing: Mapping[Level, str]) -> dict[str, str]:
    """``volume, breast level`` to the reason why these have no score; levels of one reason together."""
    together: dict[str, list[str]] = {}
    for level in LEVELS:
        if level in missing:
            together.setdefault(missing[level], []).append(level)
    return {f"{', '.join(levels)} level": why for why, levels in together.items()}


def with_hint(message: str, hint: str) -> str:
    """A failure with its next step, without a full stop."""
    message = message.rstrip(".")
    return f"{message}. Hint: {hint.rstrip('.')}" if hint else message


def _warned(entries: Sequence[Entry]) -> Iterable[str]:
    """One line for each warning, with the mark of the rows that it is of."""
    found: dict[str, dict[str, list[str]]] = {}
    for e in entries:
        for warning in e.warnings:
            found.setdefault(warning, {}).setdefault(e.method, []).append(f"{e.seed}")
    for warning, methods in found.items():
        seeds = [
            f"{name}, seed{'s' if len(of) > 1 else ''} {', '.join(of)}"
            for name, of in methods.items()
        ]
        yield f"{WARNED} {'; '.join(seeds)}: {warning.rstrip('.')}."


def _of_scores(entries: Sequence[Entry]) -> Iterable[str]:
    """What scoring had to say; the methods are named where it is not of all of them."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        for note in entry.score.notes if entry.score else ():
            found.setdefault(note, []).append(entry.method)
    everybody = {entry.method for entry in entries}
    for note, methods in found.items():
        yield note if set(methods) == everybody else f"{_names(methods)}: {note}"


def _differences(rows: Sequence[TableRow], compared: Compared) -> Iterable[str]:
    """What the marks of paired tests mean, and if there is no difference, why."""
    if any(cell.tied for row in rows for cell in row.cells.values()):
        yield (
            "† (shaded in LaTeX and HTML) marks what cannot be distinguished from the best: the interval of the paired "
            "difference over patients holds 0, or there are too few patients for one. It is asked of AUC and SP@; NPV, "
            "NR and AR hang on one threshold each and are not compared."
        )
    if not compared.differences:
        return
    yield (
        f"ΔAUC is the difference to {compared.baseline} on the same patients, in points. Stars are from Holm-corrected "
        "tests alone: * p < 0.05, ** p < 0.01, *** p < 0.001."
    )
    reasons: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        d = row.differences.get("auc")
        if d is not None and d.reason:
            reasons.setdefault(d.reason, []).append((row.method, row.level))
    for reason, places in reasons.items():
        methods, levels = (_names(column) for column in zip(*places, strict=True))
        yield f"ΔAUC of {methods} ({levels} level): {reason}."


def _strongest_shortcut(rows: Sequence[TableRow]) -> Iterable[str]:
    """For each level, protocol and evaluation set: the shortcut of the highest AUC, and the methods not above it."""
    shortcuts: dict[Group, TableRow] = {}
    for row in rows:
        if row.subgroup:
            continue
        best = shortcuts.get(row.group)
        if row.kind == "shortcut" and _auc(row) > (_auc(best) if best else 0.5):
            shortcuts[row.group] = row
    for group, worst in shortcuts.items():
        value = worst.cells["auc"].value
        interval = interval_text("auc", value)
        methods = [r for r in rows if r.group == group and r.kind == "method" and _auc(r) > 0]
        below = _names(r.method for r in methods if _auc(r) <= _auc(worst))
        yield (
            f"Strongest shortcut at {worst.level} level: {worst.method}, AUC {value_text('auc', value)}"
            f"{interval and ' '}{interval}, without looking at an image"
            f"{f'; not above it: {below}' if below else ''}."
        )


def _auc(row: TableRow) -> float:
    cell = row.cells.get("auc")
    return round(cell.value.value or 0.0, EQUAL_DECIMALS) if cell else 0.0


def _small_sample(rows: Iterable[TableRow]) -> Iterable[str]:
    """One note for each number of positive patients below the bound, with the levels that have so few."""
    found: dict[int, list[str]] = {}
    for row in rows:
        count = row.n_pos_patients
        if row.kind != "method" or row.subgroup or count is None:
            continue
        if count < ENOUGH_POSITIVE_PATIENTS:
            found.setdefault(count, []).append(row.level)
    for count, levels in found.items():
        plural = "" if count == 1 else "s"
        yield (
            f"Small sample at {_names(levels)} level: {count} positive patient{plural}. With fewer than "
            f"{ENOUGH_POSITIVE_PATIENTS} the true value lies in the interval less often than stated: with 21, the "
            "true AUC did in 90 to 94 % of simulated test sets instead of 95 %."
        )


def _undertrained(rows: Iterable[TableRow]) -> list[str]:
    names = _names(row.method for row in rows if row.undertrained)
    if not names:
        return []
    return [f"Pretrained for fewer epochs than the method's own schedule: {names}."]


def _empty(rows: Iterable[TableRow]) -> Iterable[str]:
    """One note for each reason; the fixed rule's are explained by the legend."""
    found: dict[tuple[str, str, bool], list[tuple[str, str, str]]] = {}
    for row in rows:
        if row.kind == "rule" or row.failure or row.subgroup:
            continue
        for name, cell in row.cells.items():
            # the others' are in the CSV and JSON renderings
            if cell.value.reason and name in (*DEFAULT, *TASKS):
                what = "Empty" if cell.value.value is None else "Without interval"
                where = (METRIC_NAMES[name], row.method, row.level)
                found.setdefault((what, cell.value.reason, row.frozen), []).append(where)
    for (what, reason, frozen), places in found.items():
        metrics, methods, levels = (_names(column) for column in zip(*places, strict=True))
        place = FROZEN if frozen else f"{levels} level"
        yield f"{what}: {metrics} of {methods} ({place}): {reason}."


def _papers_shown(rows: Iterable[TableRow]) -> Iterable[str]:
    """Where each paper's number comes from, and what may set it apart from ours although the protocol is one."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.paper_source and not row.single:
            done = (
                f"{row.epochs_done} of {row.epochs_planned} epochs of pretraining were done here, "
            )
            short = done if row.undertrained else ""
            found.setdefault((row.paper_source, short), []).append(
                f"{row.method} ({row.level} level)"
            )
    for (source, short), places in found.items():
        yield (
            f"Paper AUC beside {_names(places)}: {source}. It may differ from ours: {short}"
            "preparation, random numbers and the training patients need not be the paper's."
        )


def _paper(entries: Iterable[Entry], evaluation_sets: Mapping[str, str]) -> Iterable[str]:
    found: dict[str, list[tuple[str, str]]] = {}
    for entry in entries:
        for row in entry.score.rows if entry.score else ():
            if row.kind == "method":
                name = evaluation_sets.get(row.evaluation_set, "")
                if reason := why_not(entry, row.level, name):
                    found.setdefault(reason, []).append((entry.method, row.level))
    for reason, places in found.items():
        methods, levels = (_names(column) for column in zip(*places, strict=True))
        yield f"No paper's number beside {methods} ({levels} level): {reason}."


def _names(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def comparable(entry: Entry, level: Level, evaluation_set: str) -> Reported | None:
    """The paper's row that was measured as ours was; None if there is none."""
    for row in _same_setting(entry, level):
        if (
            entry.score
            and row.protocol == entry.score.protocol.name
            and row.evaluation_set == evaluation_set
        ):
            return row
    return None


def why_not(entry: Entry, level: Level, evaluation_set: str) -> str:
    """Why the column is empty; nothing where it is not, or where the method reports no numbers at all."""
    if not entry.reported or entry.score is None or comparable(entry, level, evaluation_set):
        return ""
    score = entry.score
    rows = _same_setting(entry, level)
    if not rows:
        return (
            f"the paper has no row for {entry.backbone}, {entry.finetuner} fine-tuning and {score.patches} "
            "patches a slice"
        )
    theirs = " or ".join(
        dict.fromkeys(f"protocol {r.protocol} on {r.evaluation_set}" for r in rows)
    )
    ours = f"protocol {score.protocol.name} on {evaluation_set or 'an evaluation set of no published name'}"
    return f"the paper's row is {theirs}; this one is {ours}"


def _same_setting(entry: Entry, level: Level) -> list[Reported]:
    if entry.score is None:
        return []
    ours = (level, entry.backbone, entry.finetuner, entry.score.patches)
    return [r for r in entry.reported if (r.level, r.backbone, r.finetuner, r.patches) == ours]
