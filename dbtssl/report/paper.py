"""When a paper's number may stand beside ours: same level, backbone, fine-tuning, patches, protocol, evaluation set."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbtssl.interfaces import Level, Reported
    from dbtssl.report.table import Entry


def comparable(entry: Entry, level: Level, evaluation_set: str) -> Reported | None:
    """The paper's row that was measured as ours was; None where there is none."""
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
