"""Write a table in every format; a reader sees a whole file or the old one, never half of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.errors import DataError
from dbtssl.io import write_bytes
from dbtssl.report.query import overview
from dbtssl.report.writers.latex import latex
from dbtssl.report.writers.markdown import markdown
from dbtssl.report.writers.terminal import plain_text
from dbtssl.report.writers.tidy import parquet, table_json, tidy_csv

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dbtssl.report.table_model import Table

TO_READ = ("markdown", "latex", "terminal")
FORMATS: dict[str, tuple[str, Callable[[Table], str | bytes]]] = {
    "markdown": ("table.md", markdown),
    "latex": ("table.tex", latex),
    "csv": ("table.csv", tidy_csv),
    "parquet": ("table.parquet", parquet),
    "json": ("table.json", table_json),
    "terminal": ("table.txt", plain_text),
}
"""What a user types, the file that a run leaves, and the rendering."""


def render(table: Table, form: str) -> bytes:
    """The table in one of `FORMATS`, as the bytes of a file."""
    content = FORMATS[form][1](table)
    return content.encode() if isinstance(content, str) else content


def write_table(table: Table, folder: Path) -> list[Path]:
    """Write ``table.md``, ``.tex``, ``.csv``, ``.parquet``, ``.json`` and ``.txt`` into ``folder``, byte-identical for
    equal tables. Those for reading leave out subgroups; the others have every row and metric.

    The folder is made. `DataError` where it cannot be written to; files that are there stay as they were.
    """
    contents = {
        name: render(overview(table) if form in TO_READ else table, form)
        for form, (name, _) in FORMATS.items()
    }
    try:
        for name, content in contents.items():
            write_bytes(folder / name, content)
    except OSError as exc:
        raise DataError(
            f"cannot write the table to {folder}: {exc.strerror or exc}",
            hint="make room, or choose another folder with --out",
        ) from None
    return [folder / name for name in contents]
