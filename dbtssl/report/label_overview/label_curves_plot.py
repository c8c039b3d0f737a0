"""The picture of a benchmark with several fractions of the labels: a line per method, its name at the line's end."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import TYPE_CHECKING

from dbtssl.io import write_bytes
from dbtssl.report.html.figures import series, short
from dbtssl.report.html.svg import INK, MUTED, SURFACE, panels, plotting
from dbtssl.report.label_overview.label_curves_text import (
    METRIC,
    SHOWN,
    label_csv,
    label_json,
    label_markdown,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Literal

    from matplotlib.axes import Axes

    from dbtssl.report.label_overview.label_curves_text import LabelCurves
    from dbtssl.report.table_model import Cell


SIZE = (9.0, 5.2)  # inches
SIDE = (
    0.03  # from method to method at one fraction, as a part of the smallest step between fractions
)
SPREAD = 0.35  # of all methods, at most
LINE = 0.045  # of the height, between two names
Point = tuple[float, float, float | None, float | None]


def label_picture(curves: LabelCurves, form: Literal["png", "svg"]) -> bytes:
    """AUC over the fraction of the labels, which is on a log scale; a bar is what stands beside the value in the table.

    The names stand in the order of the last values. A line ends where a method has no value.
    """
    with plotting():
        figure, (ax,) = panels(1, *SIZE)
        names = list(dict.fromkeys(name for b in curves.budgets for name in b.lines(SHOWN)))
        ends = []
        for i, name in enumerate(names):
            points = _points(curves, name, _beside(curves, i, len(names)))
            _line(ax, points, i)
            if points:
                ends.append((points[-1], short(name), series(i)["color"]))
        ax.set_xscale("log")
        ax.set_xticks(
            [b.share for b in curves.rising],
            [f"{b.name}\n{b.abnormal:,} + {b.normal:,}" for b in curves.rising],
        )
        ax.minorticks_off()
        ax.axhline(50, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
        ax.set(
            xlabel="training patients with labels, abnormal + normal",
            ylabel=f"AUC at {SHOWN} level, %",
        )
        ax.set_title(f"{curves.heading}\n{_bars(curves)}", loc="left", fontsize=10)
        _names(ax, ends)
        out = io.BytesIO()
        stamp = {"Date": None} if form == "svg" else {}
        figure.savefig(out, format=form, dpi=130, metadata=stamp, facecolor=SURFACE)
    return out.getvalue()


def _beside(curves: LabelCurves, i: int, count: int) -> float:
    """What the fraction is multiplied with, so that bars of one fraction do not cover each other."""
    shares = [budget.share for budget in curves.rising]
    step = min((b / a for a, b in pairwise(shares)), default=2.0)
    side = min(SIDE, SPREAD / max(count - 1, 1))
    return float(step ** (side * (i - (count - 1) / 2)))


def _points(curves: LabelCurves, name: str, beside: float) -> list[Point]:
    out = []
    for budget in curves.rising:
        row = budget.lines(SHOWN).get(name)
        cell = row.cells.get(METRIC) if row else None
        if cell is not None and cell.value.value is not None:
            low, high = _ends(cell)
            out.append((budget.share * beside, 100 * cell.value.value, low, high))
    return out


def _ends(cell: Cell) -> tuple[float | None, float | None]:
    """The interval of one run; the standard deviation to either side of a mean."""
    middle, low, high = cell.value.value, cell.value.low, cell.value.high
    if middle is not None and cell.sd is not None:
        return 100 * (middle - cell.sd), 100 * (middle + cell.sd)
    return None if low is None else 100 * low, None if high is None else 100 * high


def _line(ax: Axes, points: Sequence[Point], i: int) -> None:
    style = series(i)
    ax.plot([p[0] for p in points], [p[1] for p in points], linewidth=1.7, **style)
    ax.plot([p[0] for p in points], [p[1] for p in points], "o", ms=4.5, color=style["color"])
    for x, _, low, high in points:
        if low is not None and high is not None:
            ax.plot([x, x], [low, high], linewidth=1, alpha=0.55, color=style["color"])


def _bars(curves: LabelCurves) -> str:
    rows = [row for budget in curves.budgets for row in budget.lines(SHOWN).values()]
    said = []
    if any(row.cells[METRIC].value.low is not None for row in rows):
        said.append("one seed: bars are intervals over test patients")
    if any(row.cells[METRIC].sd is not None for row in rows):
        said.append("several seeds: their mean, bars of one standard deviation to either side")
    return "; ".join(said).capitalize()


def _names(ax: Axes, ends: Sequence[tuple[Point, str, str]]) -> None:
    """The name of each line at the right, moved apart where lines end close together."""
    low, high = ax.get_ylim()
    step = LINE * (high - low)
    heights: list[float] = []
    rising = sorted(ends, key=lambda end: end[0][1])
    for (_, y, *_), _, _ in rising:
        heights.append(max(y, heights[-1] + step) if heights else y)
    above = max(0.0, heights[-1] - high) if heights else 0.0
    for ((x, y, *_), name, colour), height in zip(rising, heights, strict=True):
        ax.annotate(
            name,
            (x, y),
            (1.03, (height - above - low) / (high - low)),
            textcoords="axes fraction",
            va="center",
            color=INK,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.8, "alpha": 0.7},
        )
    ax.set_ylim(low, high)


def write_label_curves(curves: LabelCurves, folder: Path) -> list[Path]:
    """Write ``labels.md``, ``.csv``, ``.json``, ``.png`` and ``.svg`` into ``folder``, which is there."""
    from dbtssl.report.label_overview.label_curves_plot import label_picture  # imports matplotlib

    contents = {
        "labels.md": label_markdown(curves).encode(),
        "labels.csv": label_csv(curves).encode(),
        "labels.json": label_json(curves).encode(),
        "labels.png": label_picture(curves, "png"),
        "labels.svg": label_picture(curves, "svg"),
    }
    for name, content in contents.items():
        write_bytes(folder / name, content)
    return [folder / name for name in contents]
