"""What an earlier run has finished: a record a volume, written last, under a hash of all that it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from dbtssl.config import Config, digest
from dbtssl.data.cohort_tables import StoredVolume
from dbtssl.data.store import FORMAT, plain_volume, tissue_path, volume_path
from dbtssl.errors import DataError, system_error
from dbtssl.io import remove_partial, write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
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
