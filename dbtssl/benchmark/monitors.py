"""The plots of a benchmark's monitors, beside its table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.io import write_bytes
from dbtssl.training.monitors import PLOT

if TYPE_CHECKING:
    from pathlib import Path

    from dbtssl.benchmark.record import Record
    from dbtssl.benchmark.store import Store

FOLDER = "monitors"


def keep_plots(record: Record, store: Store, folder: Path) -> list[Path]:
    """Copy the plot of every pretraining of a run to ``folder/monitors``, and remove those of other runs.

    A pretraining that was done without monitors, or before, has no plot: it is not done again for one.
    """
    target = folder / FOLDER
    kept = []
    for stage in record.stages:
        source = store.path("pretrain", stage.key) / PLOT
        if stage.stage == "pretrain" and stage.key and source.is_file():
            kept.append(target / f"{stage.of.replace(', ', '-').replace(' ', '-')}.png")
            write_bytes(kept[-1], source.read_bytes())
    for stale in set(target.glob("*.png")) - set(kept):
        stale.unlink()
    return kept
