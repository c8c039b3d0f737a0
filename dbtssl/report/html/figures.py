"""The figures of a report. Each takes numbers that were computed elsewhere and draws them; none computes a result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbtssl.evaluation.metrics.roc_bands import GRID, roc
from dbtssl.report.html.svg import DASHES, INK, MUTED, RULE, SERIES, inline, panels
from dbtssl.report.table_cells import clean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from markupsafe import Markup
    from matplotlib.axes import Axes

    from dbtssl.interfaces import Level
    from dbtssl.report.html.content import MethodRuns

WIDTH = 9.0  # inches of a figure that is as wide as the page
BANDS = 3  # methods that have their band drawn; more would hide each other
BINS = 30
LONGEST_NAME = 32
LOGARITHMIC = 30  # units in one bin from which counts are on a log scale, so that single abnormals can be seen
PLAIN = "{x:g}"  # 1, 10, 100: matplotlib's powers of ten are mathematical text, which is off


def series(i: int) -> dict[str, Any]:
    """Colour and dashes of the i-th method: they differ in both, so that colour alone tells nothing apart."""
    return {
        "color": SERIES[i % len(SERIES)],
        "linestyle": DASHES[i // len(SERIES) % len(DASHES)],
    }


def short(name: str) -> str:
    """A name that fits above a panel."""
    name = clean(name)
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def roc_figure(methods: Sequence[MethodRuns], level: Level, targets: Sequence[float]) -> Markup:
    """ROC curves: the mean over seeds if there are several, bands, and the points of the chosen thresholds."""
    figure, (whole, corner) = panels(2, WIDTH, 4.2)
    for axes in (whole, corner):
        axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
        for target in targets:
            axes.axhline(100 * target, color=MUTED, linewidth=0.5, linestyle=(0, (1, 2)))
        for i, method in enumerate(methods):
            _roc(axes, method, level, i)
        axes.set_xlabel("normals called abnormal, %")
        axes.set_ylabel("sensitivity, %")
    whole.set(xlim=(-1, 101), ylim=(-1, 101), aspect="equal", title=f"{level} level")
    corner.set(xlim=(-0.3, 30), ylim=(-1, 101), title="few false alarms, enlarged")
    return inline(figure, f"roc-{level}", f"ROC curves at {level} level")


def _roc(axes: Axes, method: MethodRuns, level: Level, i: int) -> None:
    band, style = method.bands.get(level), series(i)
    if band is not None and i < BANDS:
        axes.fill_between(
            100 * GRID, 100 * band.low, 100 * band.high, color=style["color"], alpha=0.13, lw=0
        )
    if len(method.seeds) == 1 or band is None:
        for seed in method.seeds:
            curve = roc(seed.sets[level])
            axes.plot(100 * curve.false_alarms, 100 * curve.sensitivity, linewidth=1.6, **style)
    else:
        axes.plot(100 * GRID, 100 * band.middle, linewidth=1.6, **style)
    for seed in method.seeds:
        row = seed.rows[level]
        nr, ar = row.values["nr"].value, row.values["ar"].value
        if nr is not None and ar is not None:
            axes.plot(100 - 100 * nr, 100 * ar, "o", color=style["color"], markersize=5)


def patch_figure(methods: Sequence[MethodRuns], levels: Sequence[Level]) -> Markup:
    """The AUC by the number of patches a slice, mean over seeds, with the interval of a single seed."""
    figure, axes = panels(len(levels), WIDTH, 3.4)
    for ax, level in zip(axes, levels, strict=True):
        for i, method in enumerate(methods):
            curves = [[p for p in s.patch_curve if p.level == level] for s in method.seeds]
            if not all(curves):
                continue
            n = [p.patches for p in curves[0]]
            values = np.array([[p.auc.value for p in curve] for curve in curves], dtype=float)
            ax.plot(n, 100 * values.mean(axis=0), marker="o", markersize=3, **series(i))
            known = [v for p in curves[0] if (v := p.auc).low is not None and v.high is not None]
            if len(curves) == 1 and i < BANDS and len(known) == len(n):
                low, high = ([100 * getattr(v, end) for v in known] for end in ("low", "high"))
                ax.fill_between(n, low, high, color=series(i)["color"], alpha=0.13, lw=0)
        ax.axhline(50, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
        ax.set(xlabel="patches a slice", ylabel="AUC, %", title=f"{level} level")
        ax.locator_params(axis="x", integer=True)
    return inline(figure, "patches", "AUC by the number of patches a slice")


def histogram_figure(methods: Sequence[MethodRuns], level: Level) -> Markup:
    """Scores of normal and abnormal units of each method's first seed, on its own axis; many are on a log scale."""
    figure, axes = panels(
        len(methods), WIDTH, 2.1 * -(-len(methods) // 3) + 0.2, min(3, len(methods))
    )
    for ax, method in zip(axes, methods, strict=True):
        units = method.seeds[0].sets[level]
        edges = list(np.linspace(units.scores.min(), units.scores.max() + 1e-9, BINS + 1))
        ax.hist(units.scores[~units.abnormal], edges, color=MUTED, alpha=0.45, label="normal")
        ax.hist(
            units.scores[units.abnormal],
            edges,
            histtype="step",
            color=SERIES[1],
            linewidth=1.5,
        )
        threshold = method.seeds[0].rows[level].threshold
        if threshold is not None and edges[0] <= threshold <= edges[-1]:
            ax.axvline(threshold, color=INK, linewidth=0.9, linestyle=(0, (3, 2)))
        if max(np.histogram(units.scores, edges)[0]) >= LOGARITHMIC:
            ax.set_yscale("log")
            ax.set_ylim(bottom=0.7)
            ax.yaxis.set_major_formatter(PLAIN)
            ax.yaxis.set_minor_formatter("")
        ax.locator_params(axis="x", nbins=4)
        ax.set_title(short(method.name))
        ax.set(xlabel="score (logit)", ylabel=f"{level}s")
    return inline(figure, f"scores-{level}", f"Histograms of scores at {level} level")


def training_figure(methods: Sequence[MethodRuns]) -> Markup | None:
    """Losses by epoch, the monitors of the encoder, and the AUC on validation that chose the classifier."""
    wanted = (
        ("pretraining", "loss", "pretraining loss"),
        ("monitors", "knn_auc", "monitor: kNN AUC, %"),
        ("monitors", "rankme", "monitor: RankMe"),
        ("finetuning", "loss", "fine-tuning loss"),
        ("finetuning", "val_auc", "AUC of validation patches, %"),
    )
    lines = [
        [
            (i, [(e["epoch"], e[key]) for e in getattr(seed, stage) if key in e and "epoch" in e])
            for i, method in enumerate(methods)
            for seed in method.seeds
        ]
        for stage, key, _ in wanted
    ]
    kept = [(w, [x for x in ls if x[1]]) for w, ls in zip(wanted, lines, strict=True)]
    kept = [(w, ls) for w, ls in kept if ls]
    if not kept:
        return None
    across = min(3, len(kept))
    figure, axes = panels(len(kept), WIDTH, 2.9 * -(-len(kept) // across), across)
    for ax, ((_, key, title), curves) in zip(axes, kept, strict=True):
        for i, points in curves:
            x, y = np.array(points, dtype=float).T
            y = 100 * y if key.endswith("_auc") else y
            ax.plot(x, y, linewidth=1.2, marker="." if len(x) < 20 else "", **series(i))
        ax.set(title=title, xlabel="epoch")
        ax.locator_params(axis="x", integer=True)
    return inline(figure, "training", "Training curves")


def forest_figure(rows: Sequence[tuple[str, int, float, float | None, float | None]]) -> Markup:
    """Differences with their intervals, one line each: label, number of the method, value, low, high, in points."""
    figure, (ax,) = panels(1, WIDTH * 0.75, 0.55 + 0.32 * len(rows))
    ax.axvline(0, color=INK, linewidth=0.9)
    for place, (_, i, middle, low, high) in enumerate(rows):
        if low is not None and high is not None:
            ax.plot([low, high], [place, place], linewidth=2, color=SERIES[i % len(SERIES)])
        ax.plot(middle, place, "s", color=SERIES[i % len(SERIES)], markersize=6)
    ax.set_yticks(range(len(rows)), [label for label, *_ in rows])
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel="difference of AUC in points")
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    return inline(figure, "forest", "Differences between methods with their intervals")


def reliability_figure(methods: Sequence[MethodRuns]) -> Markup | None:
    """Predicted and observed fraction of abnormal slices of each method's first seed, on log scales.

    A bin without an abnormal is an open mark at the bottom.
    """
    shown = [(i, m) for i, m in enumerate(methods) if m.seeds[0].reliability]
    if not shown:
        return None
    bins = [b for _, m in shown for b in m.seeds[0].reliability]
    least = min(min(b.predicted, b.observed or 1.0, b.high) for b in bins)
    floor = max(least, 1e-6) / 1.5
    figure, axes = panels(len(shown), WIDTH, 2.8 * -(-len(shown) // 3) + 0.2, min(3, len(shown)))
    for ax, (i, method) in zip(axes, shown, strict=True):
        colour = series(i)["color"]
        ax.plot(
            [100 * floor, 100],
            [100 * floor, 100],
            color=MUTED,
            linewidth=0.8,
            linestyle=(0, (2, 2)),
        )
        for b in method.seeds[0].reliability:
            x, ends = [100 * b.predicted] * 2, [100 * max(b.low, floor), 100 * b.high]
            ax.plot(x, ends, color=colour, linewidth=1.2)
            face = colour if b.observed else "none"
            y = 100 * max(b.observed, floor)
            ax.plot(x[0], y, "o", color=colour, markerfacecolor=face, markersize=5)
        ax.set(xscale="log", yscale="log", xlim=(100 * floor, 100), ylim=(70 * floor, 140))
        ax.set(title=short(method.name), xlabel="predicted, %", ylabel="observed, %")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(PLAIN)
            axis.set_minor_formatter("")
        ax.grid(color=RULE, which="major")
    return inline(figure, "reliability", "Predicted against observed fraction of abnormal slices")
