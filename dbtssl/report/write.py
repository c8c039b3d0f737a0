"""Write a table in every format; a reader sees a whole file or the old one, never half of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dbtssl.errors import DataError
from dbtssl.report.json_ import table_json
from dbtssl.report.markdown import markdown
from dbtssl.report.terminal import plain_text
from dbtssl.report.tidy import tidy_csv

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtssl.report.table import Table

FORMATS: dict[str, Callable[[Table], str]] = {
    "table.md": markdown,
    "table.csv": tidy_csv,
    "table.json": table_json,
    "table.txt": plain_text,
}


def write_table(table: Table, folder: Path) -> list[Path]:
    """Write ``table.md``, ``.csv``, ``.json`` and ``.txt`` into ``folder``, byte-identical for equal tables.

    The folder is made. `DataError` where it cannot be written to; files that are there stay as they were.
    """
    texts = {name: render(table) for name, render in FORMATS.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_replace(folder / name, text) for name, text in texts.items()]
    except OSError as exc:
        raise DataError(
            f"cannot write the table to {folder}: {exc.strerror or exc}",
            hint="make room, or choose another folder with --out",
        ) from None


def _replace(path: Path, text: str) -> Path:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
