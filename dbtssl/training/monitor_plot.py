"""One picture of a pretraining: loss, learning rate, and its monitors over the epochs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from dbtssl.data.arrays import write_bytes
from dbtssl.training.log import read_lines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "0.45"  # told apart by the colour-blind (Okabe and Ito)
PANELS = (
    ("loss", "Loss", ()),
    ("lr", "Learning rate", ()),
    ("auc", "Lesion or normal: AUC", (("knn_auc", "kNN"), ("probe_auc", "linear probe"))),
    (
        "recall",
        "Finds the breast's other view",
        (("recall@10", "among 10 nearest"), ("recall@1", "nearest")),
    ),
    ("patient", "Nearest is the same patient", (("same_patient", "other breast or study"),)),
    ("rank", "Effective rank (RankMe)", (("rankme", "of patch features"),)),
)


def plot(log: Path, monitors: Path, out: Path, title: str) -> None:
    """Draw the logs of one run into the PNG ``out``, which is there whole or as it was.

    What chance gives is dashed in the colour of its curve; about an AUC of one half, two standard deviations of chance
    are shaded. A panel without a value says why.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    training, measured = read_lines(log), read_lines(monitors)
    figure = Figure(figsize=(11, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3, sharex=True).ravel()
    for ax, (kind, heading, curves) in zip(axes, PANELS, strict=True):
        ax.set_title(heading, fontsize=10, loc="left")
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="y", color="0.92")
        ax.set_axisbelow(True)
        if curves:
            _monitors(ax, measured, curves)
        else:
            _curve(ax, training, kind, BLUE, "")
            ax.ticklabel_format(axis="y", scilimits=(-3, 4))
        if kind == "auc":
            _band(ax, measured)
        if kind == "rank":
            ax.set_ylim(bottom=0)
        elif curves:
            ax.set_ylim(-0.02, 1.02)
    for ax in axes[3:]:
        ax.set_xlabel("epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
    last = measured[-1]
    figure.suptitle(
        f"{title}: {last['patients_with_lesion']} validation patients with a lesion against "
        f"{last['patients_without']} without, {last['volumes']} volumes",
        fontsize=11,
    )
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110)
    write_bytes(out, png.getvalue())


def _monitors(ax: Axes, lines: Sequence[dict[str, Any]], curves: Sequence[tuple[str, str]]) -> None:
    drawn = False
    for (name, label), colour in zip(curves, (BLUE, ORANGE), strict=False):
        if _curve(ax, lines, name, colour, label):
            drawn = True
            chance = lines[-1]["chance"].get(name)
            if chance is not None:
                ax.axhline(chance, color=colour, linewidth=1, linestyle="--", alpha=0.7)
    if drawn and len(curves) > 1:
        ax.legend(fontsize=8, frameon=False, loc="best")
    reasons = dict.fromkeys(why for c in curves if (why := lines[-1]["missing"].get(c[0])))
    if not drawn:
        text = "no value: " + "; ".join(reasons)
        ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", wrap=True, fontsize=8)


def _curve(ax: Axes, lines: Sequence[dict[str, Any]], name: str, colour: str, label: str) -> bool:
    points = [(x["epoch"], x[name]) for x in lines if x.get(name) is not None]
    if points:
        marker = "o" if len(points) < 30 else ""
        ax.plot(*zip(*points, strict=True), color=colour, label=label, marker=marker, markersize=3)
    return bool(points)


def _band(ax: Axes, lines: Sequence[dict[str, Any]]) -> None:
    sd = lines[-1]["auc_chance_sd"]
    if sd is not None and lines[-1]["knn_auc"] is not None:
        ax.axhspan(0.5 - 2 * sd, 0.5 + 2 * sd, color=GREY, alpha=0.12, linewidth=0)
        ax.annotate(
            "chance, 2 SD",
            (0.98, 0.5 - 2 * sd),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=7,
            color=GREY,
        )
