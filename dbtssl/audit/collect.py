"""What is known of volumes without looking at the breast: the material of ``dbtssl data audit``.

It comes from the published tables and lists, from a prepared data set, or from the files of a source: the latter are
asked for their size, their header and, if wanted, one frame.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dbtssl.audit.volume_metadata import Seen, description_of
from dbtssl.data.dicom.frames import read_frames, read_header
from dbtssl.data.preparation.prepare_volume import tissue_mask
from dbtssl.data.prepared.arrays import open_array, read_rect
from dbtssl.data.prepared.display import apply_window
from dbtssl.data.prepared.prepared_dataset import tissue_path, volume_path
from dbtssl.data.records import Rect
from dbtssl.data.sources.phantom_source import is_phantom
from dbtssl.data.splits.split_lists import read_rows
from dbtssl.data.tables.published_tables import Key
from dbtssl.errors import DataError, MachineError, system_error
from dbtssl.progress import progress
from dbtssl.workers import each

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dbtssl.data.prepared.prepared_dataset import PreparedDataset
    from dbtssl.data.splits.split_lists import Listed, SplitLists
    from dbtssl.interfaces import RawVolume


@dataclass(frozen=True)
class Material:
    """The volumes of an audit, the part of each (empty: no lists), and what was left out, in words."""

    where: str
    seen: tuple[Seen, ...]
    parts: tuple[str, ...]
    notes: tuple[str, ...] = ()
    phantom: bool = False


def from_tables(folder: Path, lists: SplitLists | None) -> Material:
    """The volumes that the tables in ``folder`` and the lists give a label; `DataError` where there is none."""
    rows = dict(lists.listed) if lists else {}
    for key, row in read_rows(folder).items():
        rows[key] = _filled(rows[key], row) if key in rows else row
    seen = [
        Seen(*key, row.label, description=description_of(row.descriptive_path, key.study))
        for key, row in sorted(rows.items())
        if row.label is not None
    ]
    if not seen:
        raise DataError(
            f"{folder}: no table of labels here or in the folders in it",
            hint="give the folder of the published tables, a prepared data set, or a folder with --source",
        )
    bare = sum(
        row.label is None and (lists is None or key in lists.listed) for key, row in rows.items()
    )
    notes = [f"{bare:,} volumes have no label in any table and are left out"] if bare else []
    return _material("tables", seen, lists, notes)


def from_prepared(dataset: PreparedDataset, lists: SplitLists | None, *, pixels: bool) -> Material:
    """The volumes of a prepared data set; the file size is that of the prepared array."""
    seen = []
    with progress("audit", len(dataset.cohort), "volumes") as ticker:
        for v in dataset.cohort:
            path = volume_path(dataset.root, v)
            background = None
            if pixels:
                whole = Rect(0, 0, v.rows, v.columns)
                frame = read_rect(open_array(path), v.n_slices // 2, whole)
                mask = read_rect(open_array(tissue_path(dataset.root, v)), 0, whole)
                background = _outside(frame, mask.astype(np.bool_))
            seen.append(
                Seen(
                    *(v.patient, v.study, v.view, v.label, v.n_slices, v.rows, v.columns),
                    file_size=path.stat().st_size,
                    background=background,
                )
            )
            ticker.advance(1)
    material = _material("prepared data set", seen, lists, [])
    return replace(material, phantom=dataset.phantom)


def from_files(
    folder: Path, raws: Sequence[RawVolume], lists: SplitLists | None, *, pixels: bool, jobs: int
) -> Material:
    """The volumes of a source, with what their files tell; the descriptions are those of the tables in ``folder``.

    A file that cannot be read leaves its features unknown, and is counted in the notes.
    """
    rows = read_rows(folder) if folder.is_dir() else {}
    seen: dict[int, Seen] = {}
    work = dict(enumerate(raws))
    with (
        progress("audit", len(raws), "volumes") as ticker,
        closing(each(partial(_look, pixels), work, min(jobs, max(len(raws), 1)))) as results,
    ):
        for i, found in results:
            v = raws[i].volume
            row = rows.get(Key(v.patient, v.study, v.view))
            path = row.descriptive_path if row else ""
            seen[i] = replace(found, description=description_of(path, v.study))
            ticker.advance(1)
    unread = sum(s.rows is None for s in seen.values())
    notes = [f"the files of {unread:,} volumes could not be read"] if unread else []
    material = _material("files", [seen[i] for i in range(len(raws))], lists, notes)
    return replace(material, phantom=is_phantom(folder))


def with_slice_counts(
    material: Material, counts: Path, lists: SplitLists | None, folder: Path
) -> Material:
    """Numbers of frames from a JSON file ``{classic_path: frames}``, for volumes whose classic path a table tells."""
    try:
        table = json.loads(counts.read_text(encoding="utf-8"))
        frames = {str(path): int(n) for path, n in table.items()}
    except (OSError, ValueError, AttributeError, TypeError) as exc:
        if error := system_error(exc, f"{counts} cannot be read"):
            raise error from exc
        raise DataError(
            f"{counts} holds no numbers of frames: {type(exc).__name__}",
            hint='expected JSON such as {"Breast-Cancer-Screening-DBT/.../1-1.dcm": 66}',
        ) from None
    rows: dict[Key, Listed] = {**read_rows(folder), **(lists.listed if lists else {})}
    paths = {key: row.classic_path for key, row in rows.items()}
    seen = []
    for v in material.seen:
        n = frames.get(paths.get(Key(v.patient, v.study, v.view), ""))
        seen.append(v if n is None or v.n_slices else replace(v, n_slices=n))
    return replace(material, seen=tuple(seen))


def _look(pixels: bool, raw: RawVolume, _stop: Callable[[], bool]) -> Seen:
    """A volume's file size, its header and the background of its middle frame."""
    v = raw.volume
    seen = Seen(v.patient, v.study, v.view, v.label, n_slices=v.n_slices or None)
    try:
        size = sum(path.stat().st_size for path in raw.files)
        header = raw.reader.header() if raw.reader else read_header(raw.path)
        seen = replace(
            seen, file_size=size, n_slices=header.n_slices, rows=header.rows, columns=header.columns
        )
        if not pixels:
            return seen
        middle = [header.n_slices // 2]
        frames = raw.reader.frames(middle) if raw.reader else read_frames(raw.path, middle, header)
        frame = next(iter(frames))
    except MachineError:
        raise
    except (DataError, OSError):
        return replace(seen, rows=None, columns=None)
    shown = apply_window(frame, header.window)
    return replace(seen, background=_outside(frame, tissue_mask(shown)))


def _outside(frame: NDArray[np.generic], tissue: NDArray[np.bool_]) -> float | None:
    return None if tissue.all() else float(frame[~tissue].mean())


def _filled(one: Listed, other: Listed) -> Listed:
    """The list's row, with what only a table tells."""
    return one._replace(
        label=other.label if one.label is None else one.label,
        classic_path=one.classic_path or other.classic_path,
        descriptive_path=one.descriptive_path or other.descriptive_path,
    )


def _material(
    where: str, seen: Sequence[Seen], lists: SplitLists | None, notes: Sequence[str]
) -> Material:
    """Put each volume into its part; volumes in no list are left out and counted."""
    if lists is None:
        return Material(where, tuple(seen), ("",) * len(seen), tuple(notes))
    listed: Mapping[Key, Listed] = lists.listed
    keep = [v for v in seen if (v.patient, v.study, v.view) in listed]
    if not keep:
        raise DataError(
            f"none of the {len(seen):,} volumes is in the lists of the split ({lists.name})",
            hint="lists go by PatientID, StudyUID and View as published",
        )
    more = list(notes)
    if len(keep) < len(seen):
        more.append(f"{len(seen) - len(keep):,} volumes are in no list and left out")
    if len(keep) < len(listed):
        more.append(f"{len(listed) - len(keep):,} listed volumes are not in the data")
    parts = tuple(listed[Key(v.patient, v.study, v.view)].part for v in keep)
    return Material(where, tuple(keep), parts, tuple(more))
