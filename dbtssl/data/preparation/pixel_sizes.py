"""Stored pixels that are not of one size, which a method sees as lesions that are not: told, with the span."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dbtssl.data.preparation.preparation_state import Record

ALIKE = 1.005  # a ratio up to which sizes differ by rounding alone
UNITS = {"mm": "mm", "file": "pixels of the file"}


def pixel_sizes(records: Sequence[Record]) -> dict[str, Any] | None:
    """Smallest and largest width of a stored pixel over all volumes, and its unit; None where they are of one size.

    In mm where every file has its spacing, else in pixels of the file.
    """
    known = bool(records) and all(record.spacing > 0 for record in records)
    widths = [record.pixel * (record.spacing if known else 1.0) for record in records]
    if not widths or min(widths) <= 0 or max(widths) / min(widths) <= ALIKE:
        return None
    return {
        "smallest": round(min(widths), 4),
        "largest": round(max(widths), 4),
        "unit": "mm" if known else "file",
    }


def sentence(root: Path) -> str:
    """What the data set below ``root`` says of its pixel sizes, for the user; empty where they are of one size."""
    from dbtssl.data.prepared.prepared_dataset import read_manifest

    manifest = read_manifest(root) or {}
    size = manifest.get("pixel_size")
    return _words(size, manifest["config"].get("short_side")) if size else ""


def _words(size: Mapping[str, Any], short_side: int | None) -> str:
    small, large = float(size["smallest"]), float(size["largest"])
    why = "the files' own pixels are of several sizes"
    if short_side is not None:
        why = f"--short-side {short_side} brings slices of every size to one shorter side; without it they keep theirs"
    return (
        f"pixel sizes differ: a stored pixel is from {small:.4g} to {large:.4g} {UNITS[size['unit']]} wide, "
        f"{large / small:.2f} times as large; {why}"
    )
