"""What is in a prepared data set: counts by split and label, and a contact sheet of slices."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table

from dbtssl.data.records import Label, SliceRef, abnormal_slices
from dbtssl.io import write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from dbtssl.data.prepared.prepared_dataset import PreparedDataset, Slices
    from dbtssl.data.records import Volume
    from dbtssl.data.splits.patient_split import Split

SHEET = 24  # slices on a contact sheet
ACROSS = 6
INCHES = 2.0  # width of one slice
DPI = 110
BRIGHTEST = 0.7  # display value shown as white; fat would be too dark to judge an outline otherwise


class Counts(NamedTuple):
    """How much of everything a group of volumes holds."""

    patients: int
    studies: int
    volumes: int
    slices: int
    abnormal_slices: int
    boxes: int


def count(volumes: Sequence[Volume]) -> Counts:
    """Count ``volumes``; slices are abnormal by the default window of `abnormal_slices`."""
    return Counts(
        patients=len({v.patient for v in volumes}),
        studies=len({(v.patient, v.study) for v in volumes}),
        volumes=len(volumes),
        slices=sum(v.n_slices for v in volumes),
        abnormal_slices=sum(int(abnormal_slices(v).sum()) for v in volumes),
        boxes=sum(len(v.boxes) for v in volumes),
    )


def summary(dataset: PreparedDataset, split: Split) -> Table:
    """Counts by split and label, with a line for what the split leaves out and one for all."""
    title = f"{'PHANTOM, ' if dataset.phantom else ''}source {dataset.source}, digest {dataset.digest[:12]}"
    table = Table("split", "label", title=title, title_justify="left", box=None, pad_edge=False)
    for name in Counts._fields:
        table.add_column(name.replace("_", " "), justify="right")
    parts = {"train": split.train, "val": split.val, "test": split.test}
    used = {i for positions in parts.values() for i in positions}
    parts["left out"] = tuple(i for i in range(len(dataset.cohort)) if i not in used)
    for name, positions in parts.items():
        volumes = [dataset.cohort[i] for i in positions]
        head = name
        for label in Label:
            some = [v for v in volumes if v.label == label]
            if some:
                table.add_row(head, label.name.lower(), *_shown(count(some)))
                head = ""
    table.add_section()
    table.add_row("all", "", *_shown(count(list(dataset.cohort))), style="bold")
    return table


def contact_sheet(dataset: PreparedDataset, path: Path) -> int:
    """Write a PNG of up to ``SHEET`` slices, annotated ones with boxes and middle ones of others; return how many.

    Outlines: tissue mask in blue, boxes in yellow (benign) and red (cancer). Labels take turns, so that each that there
    is can be seen.
    """
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chosen = _choose(dataset.cohort)
    slices = dataset.slices(chosen)
    down = -(-len(chosen) // ACROSS)
    tallest = max(v.rows / v.columns for v in slices.cohort)
    figure = Figure(
        figsize=(ACROSS * INCHES, down * (INCHES * tallest + 0.35)), layout="compressed"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(down, ACROSS, squeeze=False).ravel()
    for i, ax in enumerate(axes):
        ax.set_axis_off()
        if i < len(chosen):
            _draw(ax, slices, i)
    kind = "phantom, not patients" if dataset.phantom else dataset.source
    figure.suptitle(f"{kind}: {len(chosen)} of {len(dataset.cohort)} volumes", fontsize=8)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI)
    write_bytes(path, png.getvalue())
    return len(chosen)


def _choose(cohort: Sequence[Volume]) -> list[int]:
    """Positions of the volumes to show: labels take turns, most severe first; each is spread over the cohort."""
    by_label = [[i for i, v in enumerate(cohort) if v.label == label] for label in reversed(Label)]
    turns = [
        (k, queue) for k in range(SHEET) for queue in range(len(Label)) if k < len(by_label[queue])
    ]
    taken = Counter(queue for _, queue in turns[:SHEET])
    return [q[k * len(q) // taken[i]] for i, q in enumerate(by_label) for k in range(taken[i])]


def _draw(ax: Axes, slices: Slices, i: int) -> None:
    from matplotlib.patches import Rectangle

    volume = slices.cohort[i]
    z = volume.boxes[0].z if volume.boxes else volume.n_slices // 2
    ax.imshow(slices.read(SliceRef(i, z)), cmap="gray", vmin=0, vmax=BRIGHTEST)
    mask = slices.tissue(i)
    if not mask.all():
        ax.contour(mask, levels=[0.5], colors="deepskyblue", linewidths=0.5)
    for box in volume.boxes:
        if box.z == z:
            colour = "red" if box.label == Label.CANCER else "yellow"
            corner = (box.x - 0.5, box.y - 0.5)  # imshow puts pixel centres on whole numbers
            ax.add_patch(
                Rectangle(corner, box.width, box.height, fill=False, color=colour, linewidth=0.8)
            )
    title = (
        f"{volume.patient} {volume.view}\n{volume.label.name.lower()}, {z + 1} of {volume.n_slices}"
    )
    ax.set_title(title, fontsize=5, pad=2)


def _shown(counts: Counts) -> list[str]:
    return [f"{n:,}" if n else "" for n in counts]
