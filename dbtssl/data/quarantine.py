"""Volumes that could not be prepared, each with its reason, in a table beside the data set: none is dropped in silence.

What is odd about a volume but does no harm is told in a second table.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, NamedTuple

from dbtssl.data.csv_rows import csv_rows
from dbtssl.errors import DataError
from dbtssl.io import write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

QUARANTINE, NOTES = "quarantine.csv", "notes.csv"
SHOWN = 3  # bad volumes that a message names


class Bad(NamedTuple):
    """A volume that cannot be prepared; ``key`` hashes what it would have been made from."""

    volume: str
    reason: str
    hint: str
    key: str


def read_quarantine(out: Path) -> dict[str, Bad]:
    """The table of bad volumes below ``out``, by volume; empty where there is none or it cannot be read."""
    try:
        rows = [row for row, _ in csv_rows(out / QUARANTINE, Bad._fields, what="table", hint="")]
    except DataError:
        return {}
    return {row["volume"]: Bad(*(row[name] for name in Bad._fields)) for row in rows}


def write_quarantine(out: Path, bad: Iterable[Bad]) -> None:
    """Write the table, or remove it where no volume is bad."""
    _write(out / QUARANTINE, Bad._fields, list(bad))


def write_notes(out: Path, notes: Mapping[str, Sequence[str]]) -> None:
    """Write the notes by volume, a row each, or remove the table where there are none."""
    rows = [(volume, note) for volume, some in notes.items() for note in some]
    _write(out / NOTES, ("volume", "note"), rows)


def check_bad(
    out: Path, bad: Sequence[Bad], total: int, most: int, files: Mapping[str, Path]
) -> None:
    """Refuse more than ``most`` bad volumes, and none but bad ones; ``files`` are those that may be shown."""
    if not bad or (len(bad) <= most and len(bad) < total):
        return
    lines = [
        f"  volume {one.volume}{f' ({files[one.volume]})' if one.volume in files else ''}: {one.reason}"
        for one in bad[:SHOWN]
    ]
    if len(bad) > SHOWN:
        lines.append(f"  and {len(bad) - SHOWN} more")
    limit, hint = "none is left", bad[0].hint
    if len(bad) < total:
        limit = f"--max-bad is {most}"
        hint += f"; or leave such volumes out with --max-bad {len(bad)}: what is finished is kept"
    listed = "\n".join(lines)
    raise DataError(
        f"{len(bad)} of {total} volumes cannot be prepared, {limit}; the table is {out / QUARANTINE}\n{listed}",
        hint=hint,
    )


def _write(path: Path, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([" ".join(cell.split()) for cell in row] for row in rows)  # a row is a line
    content = text.getvalue().encode(errors="backslashreplace")  # a file name may be no UTF-8
    if not path.is_file() or path.read_bytes() != content:
        write_bytes(path, content)


def count_rows(path: Path) -> int:
    """Rows of a table of this module, its head not counted; 0 where there is none."""
    if not path.is_file():
        return 0
    return sum(1 for _ in csv_rows(path, ("volume",), what="table", hint="prepare again"))
