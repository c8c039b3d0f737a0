"""The official detection metric and where a method looked, in words and in a small table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from dbtssl.report.table_cells import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dbtssl.evaluation.values import LocalisationResult, Value

NAMES = {
    "mean_sensitivity_positive": "mean sensitivity, volumes with a box (primary)",
    "sensitivity_at_2_fps_all": "sensitivity at 2 false positives, all volumes",
    **{
        f"sensitivity_at_{at}_fps_positive": f"sensitivity at {at} false positive{'s'[: at > 1]}, volumes with a box"
        for at in (1, 2, 3, 4)
    },
}


def renderable(title: str, values: Mapping[str, Value]) -> Table:
    """What rich prints: a line for each number, the primary one first."""
    table = Table(title=clean(title), box=None, title_justify="left", pad_edge=False)
    table.add_column("official metric of DBTex, percent")
    table.add_column("", justify="right")
    for name in sorted(values, key=list(NAMES).index):
        table.add_row(NAMES[name], Text(fraction(values[name])))
    return table


def looked_notes(looked: LocalisationResult | None) -> Iterable[str]:
    """One note for each question, and the rule; none where no volume has a box."""
    if looked is None:
        return
    yield f"Where it looked, {looked.n_volumes} volumes with a box. {looked.rule}"
    yield f"Slice hit {fraction(looked.slice_hit)}, chance {100 * looked.slice_chance:.1f}."
    if looked.patch_chance is not None:
        yield (
            f"Patch hit {fraction(looked.patch_hit)}, chance {100 * looked.patch_chance:.1f}, "
            f"{looked.n_slices} annotated slices."
        )
    for name, value in looked.detection.items():
        yield f"Detection, {NAMES[name]}: {fraction(value)}."


def fraction(value: Value) -> str:
    """Percent with its interval, or the reason why there is none."""
    if value.value is None:
        return f"not given ({value.reason})"
    text = f"{100 * value.value:.1f}"
    if value.low is not None and value.high is not None:
        return f"{text} [{100 * value.low:.1f}, {100 * value.high:.1f}]"
    return f"{text} ({value.reason})" if value.reason else text
