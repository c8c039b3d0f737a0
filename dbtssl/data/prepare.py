"""From DICOM files to a prepared data set: one process a core, one volume at a time, resumable."""

from __future__ import annotations

import errno
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from pydantic import Field, ValidationError

from dbtssl.config import Config, digest, result_fields
from dbtssl.data.arrays import PARTIAL, write_bytes
from dbtssl.data.cohort_tables import StoredVolume
from dbtssl.data.prepare_volume import prepare_volume
from dbtssl.data.store import (
    FORMAT,
    MANIFEST,
    dataset_digest,
    plain_volume,
    read_manifest,
    seal,
    tissue_path,
    volume_path,
)
from dbtssl.data.tissue import TissueRule
from dbtssl.data.workers import cores, each
from dbtssl.errors import DataError
from dbtssl.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dbtssl.interfaces import RawVolume

LOCK = ".prepare.lock"


class PrepareConfig(Config):
    """What preparation does to the pixels."""

    short_side: int | None = Field(
        default=None,
        ge=16,
        description="shorter side of a slice in pixels; never enlarged; none: as stored",
    )
    tissue: TissueRule = Field(
        default="otsu-root",
        description="threshold of the tissue mask: otsu-root, or otsu as in SIFT-DBT",
    )


class _Record(Config):
    """A finished volume; ``key`` hashes what it was made from, so that a changed input is made again."""

    key: str
    stored: StoredVolume


def prepare(
    source_name: str,
    raws: Sequence[RawVolume],
    out: Path,
    config: PrepareConfig,
    *,
    phantom: bool,
    jobs: int | None,
) -> None:
    """Prepare ``raws`` into the folder ``out``; a second run does nothing, an interrupted one goes on.

    ``jobs`` is the number of processes, by default one a core; the result does not depend on it. A process holds one
    decoded frame and one compressed volume (at full resolution about 0.5 GB). `DataError` for an unreadable volume,
    a box outside its volume, a full disk, and a folder that holds a data set of other settings.
    """
    if not raws:
        raise DataError(f"the source {source_name} lists no volume", hint="check its tables")
    with _disk(out), _locked(out):
        stored = _prepare(source_name, raws, out, config, phantom, jobs or cores())
        manifest = read_manifest(out)
        fields = result_fields(config)
        if manifest is None or manifest["digest"] != dataset_digest(
            source_name, phantom, fields, stored
        ):
            seal(out, stored, source=source_name, phantom=phantom, config=config)


def _prepare(
    source_name: str,
    raws: Sequence[RawVolume],
    out: Path,
    config: PrepareConfig,
    phantom: bool,
    jobs: int,
) -> list[StoredVolume]:
    manifest = read_manifest(out)
    asked = (source_name, phantom, result_fields(config))
    if manifest and (manifest["source"], manifest["phantom"], manifest["config"]) != asked:
        raise DataError(
            f"{out} holds a data set prepared otherwise: {manifest['source']}, {manifest['config']}; "
            f"asked for {asked[0]}, {asked[2]}",
            hint="give another folder, or delete this one",
        )
    _remove_partial(out)
    keys = [_key(raw, config) for raw in raws]
    stored: dict[int, StoredVolume] = {}
    for i, (raw, key) in enumerate(zip(raws, keys, strict=True)):
        done = _finished(out, raw, key)
        if done is not None:
            stored[i] = done
    todo = [i for i in range(len(raws)) if i not in stored]
    if todo:
        (out / MANIFEST).unlink(missing_ok=True)
        one = partial(_one, out, config)
        work = {i: (raws[i], keys[i]) for i in todo}
        with (
            progress("prepare", len(todo), "volumes") as ticker,
            closing(each(one, work, min(jobs, len(todo)))) as results,
        ):
            for i, made in results:
                stored[i] = made
                ticker.advance(1, raws[i].volume.id)
    return [stored[i] for i in range(len(raws))]


def _one(
    out: Path, config: PrepareConfig, item: tuple[RawVolume, str], stop: Callable[[], bool]
) -> StoredVolume:
    """Prepare one volume; its record is written last."""
    raw, key = item
    try:
        with _disk(out):
            _record_path(out, raw).unlink(missing_ok=True)  # of another input or setting
            stored = prepare_volume(raw, out, config.short_side, config.tissue, stop)
            record = _Record(key=key, stored=stored)
            write_bytes(_record_path(out, raw), record.model_dump_json().encode())
    except DataError as exc:
        raise DataError(f"volume {raw.volume.id}: {exc.message}", hint=exc.hint) from exc
    return stored


def _key(raw: RawVolume, config: PrepareConfig) -> str:
    """A hash of everything that a prepared volume depends on; a file counts by its size and time."""
    v = raw.volume
    try:
        stat = raw.path.stat()
    except OSError as exc:
        raise DataError(
            f"volume {v.id}: cannot read {raw.path}: {exc.strerror}", hint="list the source again"
        ) from None
    made_from = [FORMAT, result_fields(config), plain_volume(v), stat.st_size, stat.st_mtime_ns]
    return digest(made_from)


def _record_path(out: Path, raw: RawVolume) -> Path:
    return out / "records" / f"{raw.volume.id}.json"


def _finished(out: Path, raw: RawVolume, key: str) -> StoredVolume | None:
    """What an earlier run made of ``raw``, if it was made from the same and all of it is there."""
    try:
        record = _Record.model_validate_json(_record_path(out, raw).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    files = (volume_path(out, raw.volume), tissue_path(out, raw.volume))
    return record.stored if record.key == key and all(f.is_file() for f in files) else None


def _remove_partial(out: Path) -> None:
    """Remove what a killed run left half-written."""
    for folder in ("", "volumes", "tissue", "records"):
        for path in (out / folder).glob(f".*{PARTIAL}"):
            path.unlink()


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise DataError(f"{out} is not a folder", hint="give another folder") from None
    lock = FileLock(out / LOCK, timeout=0)
    try:
        with lock:
            yield
    except Timeout:
        raise DataError(
            f"another process prepares {out}", hint="wait for it, or give another folder"
        ) from None


@contextmanager
def _disk(out: Path) -> Iterator[None]:
    """Turn what goes wrong with writing into a `DataError`."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f"the disk of {out} is full",
                hint="make room and run again: what is finished is kept; or use a smaller --short-side",
            ) from None
        raise DataError(
            f"cannot write into {out}: {exc}", hint="check the folder's rights"
        ) from None
