"""The table of an audit, a plain sentence on each feature, and the same as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from dbtssl.report.table_cells import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from dbtssl.audit.confounders import Finding

CLEAR = 0.9
"""From this AUC on a feature is said to give the label away; a choice of words, no test."""


def auc_text(finding: Finding) -> str:
    """``0.680 [0.558, 0.782]``, without interval if there is none, or nothing."""
    value = finding.auc
    if value.value is None:
        return ""
    interval = "" if value.low is None else f" [{value.low:.3f}, {value.high:.3f}]"
    return f"{value.value:.3f}{interval}"


def sentence(finding: Finding) -> str:
    """What the finding means, in words."""
    value = finding.auc
    if value.value is None:
        return f"Not computed: {value.reason}."
    if not finding.excludes_chance:
        if value.low is None:
            return f"{value.reason[:1].upper()}{value.reason[1:]}."
        return "No sign of a shortcut in this sample: the interval holds 0.5."
    if value.value < 0.5:
        return "It predicts the label, against the expected direction: look at it before you trust a result."
    strength = "Gives the label away" if value.value >= CLEAR else "A shortcut"
    return f"{strength}: {finding.meaning}."


def summary(findings: Sequence[Finding]) -> str:
    """How many features tell the label, how many would by chance, and the strongest."""
    tested = [f for f in findings if f.auc.low is not None or f.excludes_chance]
    found = [f for f in tested if f.excludes_chance]
    if not tested:
        return "Nothing could be tested."
    text = (
        f"{len(found)} of {len(tested)} features exclude 0.5; by chance alone 1 in 20 would, "
        f"here {len(tested) / 20:g}."
    )
    if found:
        text += f" Strongest: {found[0].feature}, AUC {auc_text(found[0])}."
    return text


def renderable(title: str, findings: Sequence[Finding], notes: Sequence[str]) -> RenderableType:
    """What rich prints."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    table.add_column("feature", min_width=12)
    table.add_column("AUC [95 %]", justify="right", no_wrap=True)
    table.add_column("sign of an abnormality")
    table.add_column("abnormal / normal\n(patients)", justify="right", no_wrap=True)
    for f in findings:
        counts = f"{f.n_pos:,} / {f.n_neg:,} ({f.n_pos_patients:,} / {f.n_patients:,})"
        table.add_row(
            f.feature,
            auc_text(f),
            f.score,
            counts if f.auc.value is not None else "",
            style="bold" if f.excludes_chance else "",
        )
    words = Table.grid(padding=(0, 1))
    for f in findings:
        words.add_row("•", Text(f"{f.feature}: {sentence(f)}"))
    for note in notes:
        words.add_row("•", Text(clean(note)), style="dim")
    return Group(
        Text(clean(title), style="bold"),
        Text(),
        table,
        Text(),
        words,
        Text(),
        Text(summary(findings)),
    )


def as_json(title: str, findings: Sequence[Finding], notes: Sequence[str]) -> str:
    """The findings with their sentences, the summary and the notes, as one JSON object."""
    rows = [f.model_dump(mode="json") | {"sentence": sentence(f)} for f in findings]
    out = {"title": title, "findings": rows, "summary": summary(findings), "notes": list(notes)}
    return json.dumps(out, indent=2, ensure_ascii=False)
