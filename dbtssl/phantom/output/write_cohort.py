"""A phantom cohort on disk: DICOM files in the classic layout, the three tables, and a note.

Every file is written by `dbtssl.io`, the note `phantom.json` last: a file that is there is whole, a
folder with the note is complete, and an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import errno
import json
from contextlib import closing, contextmanager
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from dbtssl import __version__
from dbtssl.config import canonical_json
from dbtssl.data.sources.phantom_source import MARKER
from dbtssl.errors import DataError
from dbtssl.io import atomic_file, is_partial, remove_partial, rename, write_text
from dbtssl.phantom.cohort.phantom_cohort import PlannedVolume, plan
from dbtssl.phantom.imaging.render import render
from dbtssl.phantom.model.phantom_config import FORMAT
from dbtssl.phantom.output.phantom_dicom import write_dicom
from dbtssl.phantom.output.phantom_tables import classic_path, tables
from dbtssl.phantom.output.truth import FILE, truth
from dbtssl.progress import progress
from dbtssl.workers import Interrupted, cores, each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dbtssl.phantom.model.phantom_config import PhantomConfig

NOTE = MARKER  # a complete cohort
STARTED = "phantom.started.json"  # one being written
LOCK = ".phantom.lock"
WHAT = "this is a phantom: simulated breasts, no patient and no clinical data"
LICENCE = "made by dbtssl; simulated data, free to use for any purpose"


def write_cohort(config: PhantomConfig, out: Path, jobs: int | None = None) -> None:
    """Render the cohort of ``config`` into the folder ``out``.

    ``jobs`` is the number of processes, by default one a core. Does nothing where ``out`` already
    holds it, and goes on where an earlier run stopped. Raises DataError where ``out`` holds
    something else, another run is writing it, or the disk is full.
    """
    note = _note(config)
    if _complete(out, note):
        return
    with _disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(out / LOCK, timeout=0):
                if not _complete(out, note):
                    _write(config, out, note, jobs or cores())
        except Timeout:
            raise DataError(
                f"{out}: another run is writing this phantom", hint="wait until it has ended"
            ) from None
        (out / LOCK).unlink(missing_ok=True)


def _write(config: PhantomConfig, out: Path, note: dict[str, Any], jobs: int) -> None:
    volumes = plan(config)
    cohort = config.cohort
    remove_partial(out, below=True)  # of a killed run
    write_text(out / STARTED, _text(note))
    left = [v for v in volumes if not (out / classic_path(cohort, v)).exists()]
    patients = {name: tuple(group) for name, group in groupby(left, key=lambda v: v.patient)}
    with progress("phantom", len(volumes), "volumes") as ticker:
        ticker.advance(len(volumes) - len(left))
        # patient by patient, so that the views of a breast share its tissue
        results = each(partial(_write_volumes, config, out, cohort), patients, jobs)
        with closing(results):
            for _, written in results:
                ticker.advance(written)
    for name, text in tables(cohort, volumes).items():
        write_text(out / name, text)
    write_text(out / FILE, truth(config, volumes))
    rename(out / STARTED, out / NOTE)


def _write_volumes(
    config: PhantomConfig,
    out: Path,
    cohort: str,
    volumes: tuple[PlannedVolume, ...],
    stop: Callable[[], bool],
) -> int:
    for volume in volumes:
        if stop():
            raise Interrupted
        path = out / classic_path(cohort, volume)
        pixels, _ = render(config, volume)
        if volume.rotated:
            pixels = np.ascontiguousarray(pixels[:, ::-1, ::-1])
        with atomic_file(path) as file:
            write_dicom(file, pixels, volume, cohort)
    return len(volumes)


def _note(config: PhantomConfig) -> dict[str, Any]:
    return {
        "what": WHAT,
        "licence": LICENCE,
        "format": FORMAT,
        "version": __version__,
        "config": json.loads(canonical_json(config)),
    }


def _complete(out: Path, note: dict[str, Any]) -> bool:
    """Whether ``out`` holds the whole cohort; refuses a folder that holds something else."""
    if out.is_file():
        raise DataError(f"{out} is a file, expected a folder", hint="name another folder")
    for name in (NOTE, STARTED):
        if (out / name).exists():
            _refuse_other(out, out / name, note)
            return name == NOTE
    if out.is_dir() and any(path.name != LOCK and not is_partial(path) for path in out.iterdir()):
        raise DataError(
            f"{out} is not empty and holds no phantom ({NOTE} is missing)",
            hint="name a new folder",
        )
    return False


def _refuse_other(out: Path, path: Path, note: dict[str, Any]) -> None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        other = {key: found[key] for key in ("format", "config")}
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"{path} is not a phantom's note", hint="remove the folder or name another"
        ) from None
    if other["format"] != note["format"]:
        raise DataError(
            f"{out} holds a phantom of format {other['format']}, this is format {note['format']}",
            hint="remove the folder or name another",
        )
    if other["config"] != note["config"]:
        differs = [
            f"{key} is {other['config'].get(key)!r} there and {value!r} here"
            for key, value in note["config"].items()
            if other["config"].get(key) != value
        ]
        raise DataError(
            f"{out} holds another phantom: {'; '.join(differs) or 'unknown keys'}",
            hint="name another folder, or ask for what it holds",
        )


def _text(note: dict[str, Any]) -> str:
    return json.dumps(note, indent=2) + "\n"


@contextmanager
def _disk_errors(out: Path) -> Iterator[None]:
    """Turn what the disk refuses into one message."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f"{out}: no space left on the disk while writing the phantom",
                hint="free some space and run the same command again; it goes on where it stopped",
            ) from None
        raise DataError(
            f"{out}: cannot write the phantom: {exc.strerror or exc}",
            hint="check the folder and its permissions",
        ) from None
