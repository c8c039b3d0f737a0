"""The prepared data set: `dataset.json`, two Parquet tables, one compressed array a volume and one a tissue mask.

Values keep their full bit depth; the window, the crop box and the tissue mask are stored beside them and applied, if at
all, at reading. `dataset.json` is written last: present means complete.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dbtssl.config import Config, digest, result_fields
from dbtssl.data.deidentify import ids_before
from dbtssl.data.prepared.arrays import inside, open_array, read_rect, write_array, zero_pad
from dbtssl.data.prepared.cohort_tables import StoredVolume, read_tables, write_tables
from dbtssl.data.prepared.display import apply_window
from dbtssl.data.records import Cohort, Rect, SliceRef, Volume
from dbtssl.errors import DataError, system_error
from dbtssl.io import write_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import blosc2
    from numpy.typing import NDArray

    from dbtssl.data.deidentify import Ids

FORMAT = 1
MANIFEST = "dataset.json"
_KEYS = {"format", "source", "phantom", "config", "digest"}
OPEN_FILES = 256  # handles that a reader keeps, far below the usual limit of 1024


class Slices:
    """Random access to the slices of a few volumes of a prepared data set.

    ``cohort`` holds these volumes only, re-indexed from 0. Files are opened at the first read, and a bounded number is
    kept open. It may be pickled and used after a fork; a single object is not for several threads at once.
    """

    def __init__(self, root: Path, cohort: Cohort) -> None:
        self.root, self.cohort = root, cohort
        self._open: OrderedDict[Path, blosc2.NDArray] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "cohort": self.cohort, "_open": OrderedDict()}

    def read(self, ref: SliceRef, rect: Rect | None = None) -> NDArray[np.float32]:
        """The slice, or ``rect`` of it, as ``(rows, columns)`` in [0, 1]: the volume's window, clipped.

        Only the blocks that ``rect`` touches are decompressed. What of ``rect`` lies outside the slice is 0.
        """
        volume = self.cohort[ref.volume]
        seen = inside(rect, volume.rows, volume.columns)
        raw = read_rect(self._array(volume_path(self.root, volume)), ref.z, seen)
        return zero_pad(apply_window(raw, volume.window), seen, rect)

    def tissue(self, volume: int, rect: Rect | None = None) -> NDArray[np.bool_]:
        """The volume's tissue mask, or ``rect`` of it, ``(rows, columns)``; false outside the slice."""
        record = self.cohort[volume]
        seen = inside(rect, record.rows, record.columns)
        mask = read_rect(self._array(tissue_path(self.root, record)), 0, seen)
        return zero_pad(mask.astype(np.bool_, copy=False), seen, rect)

    def _array(self, path: Path) -> blosc2.NDArray:
        array = self._open.get(path)
        if array is None:
            array = self._open[path] = open_array(path)
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)
        else:
            self._open.move_to_end(path)
        return array


@dataclass(frozen=True)
class PreparedDataset:
    """A prepared data set, opened. ``digest`` covers configuration, tables and every stored value."""

    root: Path
    cohort: Cohort
    digest: str
    phantom: bool
    source: str
    config: Mapping[str, Any]
    stored: tuple[StoredVolume, ...]
    ids: Ids

    @classmethod
    def open(cls, root: Path) -> PreparedDataset:
        """Open the data set below ``root``; refuse one that is missing, unfinished, damaged or of another format."""
        manifest = read_manifest(root)
        if manifest is None:
            raise DataError(
                f"no prepared data set at {root}: there is no {MANIFEST}",
                hint="make one with dbtssl data prepare SOURCE ROOT OUT; an interrupted one goes on when run again",
            )
        stored = tuple(read_tables(root))
        source, phantom, config = (manifest[k] for k in ("source", "phantom", "config"))
        found = dataset_digest(source, phantom, config, stored)
        if found != manifest["digest"]:
            raise DataError(
                f"{root}: the tables do not belong to {MANIFEST} "
                f"(digest {found[:12]}, expected {manifest['digest'][:12]})",
                hint=f"delete {MANIFEST} and run dbtssl data prepare again with the same arguments",
            )
        ids = manifest.get("ids") or ids_before(
            (s.volume.patient for s in stored), keep_ids=bool(config.get("keep_ids", False))
        )
        cohort = Cohort(s.volume for s in stored)
        return cls(root, cohort, found, phantom, source, config, stored, ids)

    def slices(self, indices: Sequence[int]) -> Slices:
        """A reader of the volumes at ``indices`` alone; nothing else of the data set can be reached through it."""
        return Slices(self.root, Cohort(self.cohort[i] for i in indices))


def read_manifest(root: Path) -> dict[str, Any] | None:
    """`dataset.json` below ``root``, or None where there is none."""
    path = root / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise system_error(exc, f"{path} cannot be read") or exc from None
    except ValueError:
        manifest = None
    if isinstance(manifest, dict) and manifest.get("format", FORMAT) != FORMAT:
        raise DataError(
            f"{root} has format {manifest['format']}, this version reads format {FORMAT}",
            hint="prepare the data set again with this version, in another folder",
        )
    if not isinstance(manifest, dict) or not manifest.keys() >= _KEYS:
        raise DataError(
            f"{path} is damaged",
            hint="delete it and run dbtssl data prepare again with the same arguments",
        )
    return manifest


def write_volume(
    root: Path,
    volume: Volume,
    frames: Iterable[NDArray[np.uint16]],
    tissue: Callable[[], NDArray[np.bool_]],
    *,
    rotated: bool = False,
) -> StoredVolume:
    """Write one volume's frames and then its tissue mask, each atomically.

    ``volume`` describes the frames as they are stored; its crop box is set to that of the mask. ``tissue`` is called
    when the last frame has been taken, so that the mask may come from them.
    """
    shape = (volume.n_slices, volume.rows, volume.columns)
    content = write_array(volume_path(root, volume), frames, shape, np.uint16)
    mask = tissue()
    mask_content = write_array(tissue_path(root, volume), [mask], (1, *shape[1:]), np.bool_)
    return StoredVolume(replace(volume, crop=Rect.around(mask)), rotated, content, mask_content)


def seal(
    root: Path,
    stored: Sequence[StoredVolume],
    *,
    source: str,
    phantom: bool,
    config: Config | Mapping[str, Any],
    quarantined: int = 0,
    ids: Ids | None = None,
    pixels: Mapping[str, Any] | None = None,
) -> None:
    """Write the tables, then `dataset.json`; from here on the data set can be opened.

    ``quarantined`` is the number of volumes that the source lists and that could not be prepared; ``ids`` says what
    became of the source's ids; ``pixels`` how large stored pixels are where they differ (`pixel_sizes`).
    """
    write_tables(root, stored)
    fields = result_fields(config) if isinstance(config, Config) else dict(config)
    labels = Counter(s.volume.label.name.lower() for s in stored)
    manifest = {
        "format": FORMAT,
        "source": source,
        "phantom": phantom,
        "config": fields,
        **({"ids": ids} if ids else {}),
        "digest": dataset_digest(source, phantom, fields, stored),
        "counts": {
            "patients": len({s.volume.patient for s in stored}),
            "volumes": len(stored),
            "slices": sum(s.volume.n_slices for s in stored),
            "boxes": sum(len(s.volume.boxes) for s in stored),
            "rotated": sum(s.rotated for s in stored),
            "labels": dict(sorted(labels.items())),
            **({"quarantined": quarantined} if quarantined else {}),
        },
        **({"pixel_size": dict(pixels)} if pixels else {}),
    }
    write_bytes(root / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())


def write_dataset(
    root: Path,
    volumes: Sequence[Volume],
    arrays: Sequence[NDArray[np.uint16]],
    masks: Sequence[NDArray[np.bool_]] | None = None,
    *,
    source: str = "arrays",
    phantom: bool = True,
    config: Config | None = None,
) -> PreparedDataset:
    """Store arrays ``(z, rows, columns)`` that are at hand as a prepared data set, and open it.

    ``n_slices``, ``rows``, ``columns`` and ``crop`` of the volumes are taken from the arrays and from ``masks``
    ``(rows, columns)``; without masks all is tissue.
    """
    stored = []
    full = (np.ones(array.shape[1:], dtype=np.bool_) for array in arrays)
    for volume, array, mask in zip(volumes, arrays, masks or full, strict=True):
        n, rows, columns = array.shape
        known = replace(volume, n_slices=n, rows=rows, columns=columns)
        stored.append(write_volume(root, known, array, partial(np.asarray, mask)))
    seal(root, stored, source=source, phantom=phantom, config=config or Config())
    return PreparedDataset.open(root)


def dataset_digest(
    source: str, phantom: bool, config: Mapping[str, Any], stored: Sequence[StoredVolume]
) -> str:
    """SHA-256 over the format, the configuration, every record and every content hash, in hex."""
    records = [
        [plain_volume(s.volume), s.rotated, s.content, s.tissue] for s in stored
    ]  # the order counts: positions are what samplers draw
    return digest([FORMAT, source, phantom, dict(config), records])


def plain_volume(volume: Volume) -> list[Any]:
    """Every field of a record as JSON data, for hashes."""
    boxes = [
        [b.z, *map(float, (b.x, b.y, b.width, b.height)), int(b.label), b.distortion]
        for b in volume.boxes
    ]
    plain = [volume.id, volume.n_slices, volume.rows, volume.columns, int(volume.label)]
    return [*plain, boxes, [float(v) for v in volume.window], list(volume.crop)]


def volume_path(root: Path, volume: Volume) -> Path:
    """Where the frames of ``volume`` lie."""
    return root / "volumes" / f"{volume.id}.b2nd"


def tissue_path(root: Path, volume: Volume) -> Path:
    """Where the tissue mask of ``volume`` lies."""
    return root / "tissue" / f"{volume.id}.b2nd"
