"""One picture of a pretraining: loss, learning rate, and its monitors over the epochs."""

from __future__ import annotations

import io
from textwrap import fill
from typing import TYPE_CHECKING, Any

from dbtssl.io import write_bytes
from dbtssl.training.training_log import read_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Line = Mapping[str, Any]

BLUE, ORANGE, GREY = (
    "#0072B2",
    "#D55E00",
    "0.45",
)  # distinguishable for the colour-blind (Okabe and Ito)
WIDTH = 44  # letters of a reason in a panel
# heading, a column of the training's log, or curves of the monitors
PANELS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("Loss", "loss", {}),
    ("Learning rate", "lr", {}),
    ("Lesion or normal: AUC", "", {"knn_auc": "kNN", "probe_auc": "linear probe"}),
    (
        "Finds the breast's other view",
        "",
        {"recall@10": "among 10 nearest", "recall@1": "nearest"},
    ),
    ("Nearest is the same patient", "", {"same_patient": ""}),
    ("Effective rank (RankMe), at most {rankme_most}", "", {"rankme": ""}),
)


def plot(log: Path, monitors: Path, out: Path, title: str) -> None:
    """Draw the two logs of a run into the PNG ``out``, which is there whole or as it was."""
    png = io.BytesIO()
    draw(read_lines(log), read_lines(monitors), title).savefig(png, format="png", dpi=110)
    write_bytes(out, png.getvalue())


def draw(training: Sequence[Line], measured: Sequence[Line], title: str) -> Figure:
    """The picture of the lines of both logs; ``measured`` is not empty.

    What chance gives is dashed in the colour of its curve; about an AUC of one half, two standard deviations of chance
    are shaded. A panel without a value says why.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    last = measured[-1]
    figure = Figure(figsize=(11, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3, sharex=True).ravel()
    for ax, (heading, name, curves) in zip(axes, PANELS, strict=True):
        ax.set_title(heading.format(**last), fontsize=10, loc="left")
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="y", color="0.92")
        ax.set_axisbelow(True)
        if name:
            _curve(ax, training, name, BLUE)
            ax.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
        else:
            _monitors(ax, measured, curves)
            fraction = "rankme" not in curves
            ax.set_ylim(-0.02 if fraction else 0, 1.02 if fraction else None)
    _band(axes[2], last)
    for ax in axes[3:]:
        ax.set_xlabel("epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(
        f"{title}: {last['patients_with_lesion']} validation patients with a lesion against "
        f"{last['patients_without']} without, {last['volumes']} volumes",
        fontsize=11,
    )
    return figure


def _monitors(ax: Axes, lines: Sequence[Line], curves: Mapping[str, str]) -> None:
    drawn = []
    for (name, label), colour in zip(curves.items(), (BLUE, ORANGE), strict=False):
        drawn.append(_curve(ax, lines, name, colour, label))
        if not drawn[-1]:
            ax.plot([], [], color=colour, label=f"{label}: no value")
        elif (chance := lines[-1]["chance"].get(name)) is not None:
            ax.axhline(chance, color=colour, linewidth=1, linestyle="--", alpha=0.7)
    if any(drawn) and len(curves) > 1:
        ax.legend(fontsize=8, frameon=False, loc="best")
    if not any(drawn):
        why = dict.fromkeys(lines[-1]["missing"][name] for name in curves)
        text = fill(f"no value: {'; '.join(why)}", WIDTH)
        ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", fontsize=8, color=GREY)


def _curve(ax: Axes, lines: Sequence[Line], name: str, colour: str, label: str = "") -> bool:
    points = [(x["epoch"], x[name]) for x in lines if x.get(name) is not None]
    if points:
        marker = "o" if len(points) < 30 else ""
        ax.plot(*zip(*points, strict=True), color=colour, label=label, marker=marker, markersize=3)
    return bool(points)


def _band(ax: Axes, last: Line) -> None:
    sd = last["auc_chance_sd"]
    if sd is not None and last["knn_auc"] is not None:
        ax.axhspan(0.5 - 2 * sd, 0.5 + 2 * sd, color=GREY, alpha=0.12, linewidth=0)
        ax.annotate(
            "shaded: chance, 2 SD",
            (0.98, max(0.0, 0.5 - 2 * sd)),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=7,
            color=GREY,
        )
