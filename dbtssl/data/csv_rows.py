"""CSV tables as people have them: where they lie, and their rows, each with its place for messages.

Line ends may be CRLF or LF, a byte order mark and an unnamed index column are tolerated.
"""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dbtssl.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

COLLECTION = "Breast-Cancer-Screening-DBT"
DEPTH = 2  # folders below the root that are searched for tables


class CsvRow(NamedTuple):
    """The values of a row by column, and its file and line."""

    values: dict[str, str]
    where: str


def csv_files(root: Path, depth: int = DEPTH) -> Iterator[Path]:
    """CSV files at most ``depth`` folders below ``root``, sorted.

    Links are followed. The images' own folder is not walked, and hidden names are passed over: macOS leaves a
    ``._NAME.csv`` beside each NAME.csv on disks that it did not format.
    """
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(f for f in folders if f != COLLECTION and not f.startswith("."))
        if len(Path(folder).relative_to(root).parts) == depth:
            folders.clear()
        yield from (Path(folder) / name for name in sorted(files) if _is_table(name))


def _is_table(name: str) -> bool:
    return name.lower().endswith(".csv") and not name.startswith(".")


def words_of(path: Path) -> set[str]:
    """The words in a file's name, in lower case, without its ending."""
    return set(re.split(r"[^a-z0-9]+", path.stem.lower()))


def alike(one: Path, other: Path) -> bool:
    """Whether two tables say the same, whatever their line ends."""
    return one.read_bytes().split() == other.read_bytes().split()


def csv_rows(
    path: Path,
    needed: Sequence[str],
    *,
    what: str,
    hint: str,
    named: Callable[[str], str] = str,
) -> Iterator[CsvRow]:
    """The rows of the table ``path`` that has the columns ``needed``; ``named`` is done to the names of its columns.

    Values that a short row lacks are empty, those of columns without a name are left out. Raises `DataError` for a file
    that cannot be read as ``what``, and for missing columns.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines, restval="")
            reader.fieldnames = [named(name) for name in reader.fieldnames or ()]
            found = [name for name in reader.fieldnames if name]
            missing = [name for name in needed if name not in found]
            if missing:
                raise DataError(
                    f"{path}: missing columns {', '.join(missing)}; found {', '.join(found) or 'none'}",
                    hint=hint,
                )
            for row in reader:
                values = {name: value for name, value in row.items() if name}
                yield CsvRow(values, f"{path}, line {reader.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise DataError(f"{path} cannot be read as a {what}: {exc}", hint=hint) from None
