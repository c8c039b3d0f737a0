"""What a preparation has finished and what it has rejected, kept so that an interrupted one resumes."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field, ValidationError

from dbtssl.config import Config, digest
from dbtssl.data.prepared.cohort_tables import StoredVolume
from dbtssl.data.prepared.prepared_dataset import FORMAT, plain_volume, tissue_path, volume_path
from dbtssl.data.tables.csv_rows import csv_rows
from dbtssl.errors import DataError, system_error
from dbtssl.io import remove_partial, write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from dbtssl.interfaces import RawVolume


class Record(Config):
    """A finished volume; with another ``key`` its input has changed and it is made again."""

    key: str = Field(description="hash of what the volume was made from")
    stored: StoredVolume = Field(description="the volume as it is stored")
    notes: tuple[str, ...] = Field(default=(), description="what was odd about its file")
    pixel: float = Field(default=0.0, description="width of a stored pixel in pixels of the file")
    spacing: float = Field(
        default=0.0, description="width of a pixel of the file in mm; 0: not known"
    )
    checked: int = Field(default=0, description="version of the checks that its file has passed")


def made_from(raw: RawVolume, settings: Mapping[str, Any]) -> tuple[str, int]:
    """A hash of everything that a prepared volume depends on, and the bytes to read; files count by size and time."""
    try:
        stats = [path.stat() for path in raw.files]
    except OSError as exc:
        error = system_error(exc, f"cannot read {exc.filename}")
        raise error or DataError(f"cannot read {exc.filename}", hint="check the disk") from None
    times = [value for stat in stats for value in (stat.st_size, stat.st_mtime_ns)]
    key = digest([FORMAT, dict(settings), plain_volume(raw.volume), *times])
    return key, sum(stat.st_size for stat in stats)


def write_record(out: Path, record: Record) -> None:
    """Write the record: from here on the volume counts as finished."""
    write_bytes(_path(out, record.stored.volume.id), record.model_dump_json().encode())


def read_record(out: Path, raw: RawVolume, key: str) -> Record | None:
    """What an earlier run made of ``raw``, if it was made from the same and all of it is there."""
    try:
        record = Record.model_validate_json(_path(out, raw.volume.id).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    files = (volume_path(out, raw.volume), tissue_path(out, raw.volume))
    return record if record.key == key and all(f.is_file() for f in files) else None


def remove_volume(out: Path, raw: RawVolume) -> None:
    """Remove what there is of ``raw``, its record first."""
    _path(out, raw.volume.id).unlink(missing_ok=True)
    for path in (volume_path(out, raw.volume), tissue_path(out, raw.volume)):
        path.unlink(missing_ok=True)


def remove_half_written(out: Path) -> None:
    """Remove what a killed run left half-written."""
    for folder in ("", "volumes", "tissue", "records"):
        remove_partial(out / folder)


def _path(out: Path, volume: str) -> Path:
    return out / "records" / f"{volume}.json"


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
