"""The files of an overview over shares of the labels: its words, its numbers and its picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.io import write_bytes
from dbtssl.report.label_budgets import label_csv, label_json, label_markdown

if TYPE_CHECKING:
    from pathlib import Path

    from dbtssl.report.label_budgets import LabelCurves


def write_label_curves(curves: LabelCurves, folder: Path) -> list[Path]:
    """Write ``labels.md``, ``.csv``, ``.json``, ``.png`` and ``.svg`` into ``folder``, which is there."""
    from dbtssl.report.label_picture import label_picture  # brings matplotlib

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
