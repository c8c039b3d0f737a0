"""Stored volumes as two Parquet tables, `volumes.parquet` and `boxes.parquet`, and back."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from dbtssl.data.records import Box, Label, Rect, Volume, Window
from dbtssl.errors import DataError, system_error
from dbtssl.io import write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VOLUMES, BOXES = "volumes.parquet", "boxes.parquet"


@dataclass(frozen=True, slots=True)
class StoredVolume:
    """A volume as it lies in a prepared data set.

    ``rotated`` says that the file held it turned by 180 degrees, ``content`` is the SHA-256 of its oriented values and
    ``tissue`` that of its tissue mask.
    """

    volume: Volume
    rotated: bool
    content: str
    tissue: str


_VOLUME_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("patient", pa.string()),
        ("study", pa.string()),
        ("view", pa.string()),
        ("label", pa.string()),
        ("n_slices", pa.int32()),
        ("rows", pa.int32()),
        ("columns", pa.int32()),
        ("window_low", pa.float64()),
        ("window_high", pa.float64()),
        *((f"crop_{name}", pa.int32()) for name in Rect._fields),
        ("rotated", pa.bool_()),
        ("content", pa.string()),
        ("tissue", pa.string()),
    ]
)
_BOX_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("z", pa.int32()),
        ("x", pa.float64()),
        ("y", pa.float64()),
        ("width", pa.float64()),
        ("height", pa.float64()),
        ("label", pa.string()),
        ("distortion", pa.bool_()),
    ]
)


def write_tables(root: Path, stored: Sequence[StoredVolume]) -> None:
    """Write both tables below ``root``; the order of the rows is that of ``stored``."""
    volumes = [_volume_row(s) for s in stored]
    boxes = [_box_row(s.volume, box) for s in stored for box in s.volume.boxes]
    for name, rows, schema in ((VOLUMES, volumes, _VOLUME_SCHEMA), (BOXES, boxes, _BOX_SCHEMA)):
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
        write_bytes(root / name, sink.getvalue().to_pybytes())


def read_tables(root: Path) -> list[StoredVolume]:
    """Read both tables below ``root``, in the order in which they were written."""
    volumes, boxes = (
        _read(root / name, schema)
        for name, schema in ((VOLUMES, _VOLUME_SCHEMA), (BOXES, _BOX_SCHEMA))
    )
    of_volume: dict[str, list[Box]] = defaultdict(list)
    for row in boxes:
        label = Label[row["label"].upper()]
        place = (row["z"], row["x"], row["y"], row["width"], row["height"])
        of_volume[row["id"]].append(Box(*place, label=label, distortion=row["distortion"]))
    return [_stored(row, tuple(of_volume[row["id"]])) for row in volumes]


def _volume_row(stored: StoredVolume) -> dict[str, Any]:
    v = stored.volume
    return {
        "id": v.id,
        "patient": v.patient,
        "study": v.study,
        "view": v.view,
        "label": v.label.name.lower(),
        "n_slices": v.n_slices,
        "rows": v.rows,
        "columns": v.columns,
        "window_low": v.window.low,
        "window_high": v.window.high,
        **{f"crop_{name}": value for name, value in v.crop._asdict().items()},
        "rotated": stored.rotated,
        "content": stored.content,
        "tissue": stored.tissue,
    }


def _box_row(volume: Volume, box: Box) -> dict[str, Any]:
    return {
        "id": volume.id,
        "z": box.z,
        "x": box.x,
        "y": box.y,
        "width": box.width,
        "height": box.height,
        "label": box.label.name.lower(),
        "distortion": box.distortion,
    }


def _stored(row: dict[str, Any], boxes: tuple[Box, ...]) -> StoredVolume:
    crop = Rect(*(row[f"crop_{name}"] for name in Rect._fields))
    plain = {k: row[k] for k in ("patient", "study", "view", "n_slices", "rows", "columns")}
    volume = Volume(
        **plain,
        label=Label[str(row["label"]).upper()],
        boxes=boxes,
        window=Window(row["window_low"], row["window_high"]),
        crop=crop,
    )
    return StoredVolume(volume, bool(row["rotated"]), str(row["content"]), str(row["tissue"]))


def _read(path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
    try:
        table = pq.read_table(path)
    except (OSError, MemoryError, pa.ArrowInvalid) as exc:
        what = f"cannot read the table {path}"
        if not isinstance(exc, FileNotFoundError) and (error := system_error(exc, what)):
            raise error from exc
        raise DataError(
            f"{what}: {exc}",
            hint="run dbtssl data prepare again with the same arguments",
        ) from None
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise DataError(
            f"{path} lacks the columns {', '.join(missing)}",
            hint="delete dataset.json and run dbtssl data prepare again with the same arguments",
        )
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows
