"""The predictions table, checked: one row a slice, the logits of all its patches kept.

`docs/predictions.md` has the columns. Any system may write it. What a file does not hold is empty here, and what needs
it is then left out with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dbtssl.data.records import Box, Label
from dbtssl.data.tables.identifiers import refuse_two_spellings, refuse_two_studies, unseen
from dbtssl.errors import DataError, system_error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


HINT = "predict again with `dbtssl benchmark`; docs/predictions.md lists the columns"
IDS = "write ids as text of letters, digits and signs that can be seen"
_SAID = (b"schema", b"split", b"inference", b"patch_size", b"n_features", b"phantom")
OF_VOLUME = ("patient", "study", "view", "label", "n_slices", "rows", "columns", "density")


@dataclass(frozen=True)
class PredictionInfo:
    """How predictions were made, from the file's metadata; empty where the file does not say."""

    split: str = ""
    inference: str = ""
    patch_size: int | None = None
    n_features: int = 0
    phantom: bool = False
    schema: int = 0  # 0: not said, so that nothing says that the logits are logits


@dataclass(frozen=True)
class Predictions:
    """Slices in order of volume and z. Volumes are in order of their ids.

    One a volume: ``volumes``, ``patients``, ``studies``, ``views`` and ``density`` (text, empty where not known),
    ``labels``, ``n_slices`` and ``shape`` ``(V, 2)`` (rows and columns, 0 where not known), and ``boxes``. Slice i
    belongs to volume ``volume[i]``, ``(S,)``; its logits are ``logits[offsets[i]:offsets[i + 1]]``, and so are the
    top-left corners of its patches in ``places`` ``(N, 2)``, None where not known. ``features`` holds the encoder's
    output for each patch, ``(N, D)``, or the mean over the patches of each slice, ``(S, D)``, where it was stored.
    """

    volumes: tuple[str, ...]
    patients: tuple[str, ...]
    studies: tuple[str, ...]
    views: tuple[str, ...]
    density: tuple[str, ...]
    labels: NDArray[np.int64]
    n_slices: NDArray[np.int64]
    shape: NDArray[np.int64]
    boxes: tuple[tuple[Box, ...], ...]
    volume: NDArray[np.int64]
    z: NDArray[np.int64]
    abnormal: NDArray[np.bool_]
    logits: NDArray[np.float64]
    offsets: NDArray[np.int64]
    places: NDArray[np.int64] | None = None
    features: NDArray[np.float32] | None = None
    made: PredictionInfo = PredictionInfo()

    @cached_property
    def volume_offsets(self) -> NDArray[np.int64]:
        """The slices of volume v are ``volume_offsets[v]:volume_offsets[v + 1]``."""
        return np.searchsorted(self.volume, np.arange(len(self.volumes) + 1)).astype(np.int64)


def read_predictions(path: Path) -> Predictions:
    """Read and check a Parquet file; `DataError` where it is missing, broken or not such a table."""
    return parse_predictions(read_parquet(path), str(path))


def read_parquet(path: Path) -> pa.Table:
    """The table of a Parquet file; `DataError` where it is missing or broken."""
    try:
        return pq.read_table(path)
    except FileNotFoundError:
        raise DataError(f"no predictions at {path}", hint="check the path") from None
    except (pa.ArrowInvalid, OSError, MemoryError) as exc:
        if error := system_error(exc, f"{path} cannot be read"):
            raise error from exc
        raise DataError(
            f"{path} is not a Parquet file: {exc}",
            hint=f"a table of volumes has a name that ends in .csv; else {HINT}",
        ) from None


def parse_predictions(table: pa.Table, where: str = "predictions") -> Predictions:
    """Check a table and put it in order; every `DataError` names ``where``, the column and the first bad slice."""
    made = _made(table.schema.metadata or {}, where)
    table = _cast(table, where).sort_by([("volume", "ascending"), ("z", "ascending")])
    volume, ids = _encode(table["volume"])
    first = np.searchsorted(volume, np.arange(len(ids)))  # first slice of each volume
    z, n_slices, label, abnormal = (
        table[name].to_numpy() for name in ("z", "n_slices", "label", "abnormal")
    )

    def refuse(bad: NDArray[np.bool_], what: str) -> None:
        if bad.any():
            i = int(np.argmax(bad))
            raise DataError(f"{where}: {what} (volume {ids[volume[i]]}, slice {z[i]})", hint=HINT)

    refuse(~np.isin(label, [int(x) for x in Label]), "label is not 0, 1, 2 or 3")
    refuse((z < 0) | (z >= n_slices), "z lies outside 0 .. n_slices - 1")
    refuse(np.r_[False, (np.diff(volume) == 0) & (np.diff(z) == 0)], "a slice is there twice")
    for name in OF_VOLUME:
        if name in table.column_names:
            column = _encode(table[name])[0]
            refuse(column != column[first][volume], f"{name} changes within a volume")
    _check_ids(table.take(first), where)
    refuse(abnormal & (label < Label.BENIGN), "an abnormal slice in a volume that was not biopsied")
    sizes = pc.list_value_length(table["logits"]).to_numpy()
    refuse(sizes == 0, "no logits")
    for name in ("y", "x"):
        if name in table.column_names:
            lengths = pc.list_value_length(table[name]).to_numpy()
            refuse(lengths != sizes, f"{name} and logits differ in length")
    logits = _flat(table, "logits", where)
    offsets = np.r_[0, np.cumsum(sizes)].astype(np.int64)
    refuse(~np.logical_and.reduceat(np.isfinite(logits), offsets[:-1]), "a logit is not finite")
    boxes = _boxes(table, z, volume, len(ids), where)
    bare = np.array([not b for b in boxes], dtype=np.bool_)
    refuse(~bare[volume] & (label < Label.BENIGN), "a box in a volume that was not biopsied")

    def text(name: str) -> tuple[str, ...]:
        if name not in table.column_names:
            return ("",) * len(ids)
        return tuple(v or "" for v in table[name].take(first).to_pylist())

    def number(name: str) -> NDArray[np.int64]:
        if name not in table.column_names:
            return np.zeros(len(ids), dtype=np.int64)
        return np.asarray(table[name].to_numpy()[first], dtype=np.int64)

    placed = {"y", "x"} <= set(table.column_names)
    return Predictions(
        volumes=ids,
        patients=text("patient"),
        studies=text("study"),
        views=text("view"),
        density=text("density"),
        labels=label[first],
        n_slices=n_slices[first],
        shape=np.stack([number("rows"), number("columns")], axis=1),
        boxes=boxes,
        volume=volume,
        z=z,
        abnormal=abnormal,
        logits=logits,
        offsets=offsets,
        places=np.stack([_flat(table, n, where) for n in ("y", "x")], axis=1) if placed else None,
        features=_features(table, made, sizes, where),
        made=made,
    )


def _check_ids(volumes: pa.Table, where: str) -> None:
    """Refuse ids, one row a volume, that hold what cannot be seen or are one number in two spellings."""
    ids = {
        name: volumes[name].to_pylist() if name in volumes.column_names else [""] * len(volumes)
        for name in ("volume", "patient", "study")
    }
    for name, values in ids.items():
        for value in dict.fromkeys(values):
            if strange := unseen(value):
                raise DataError(f"{where}: column {name}: id {value!r} holds {strange}", hint=IDS)
            if not value.strip() and name in ("volume", "patient"):
                raise DataError(f"{where}: column {name}: an id is empty", hint=IDS)
    refuse_two_spellings(ids["volume"], "volumes", where)
    refuse_two_studies(zip(ids["patient"], ids["study"], strict=True), where)


def _made(metadata: Mapping[bytes, bytes], where: str) -> PredictionInfo:
    said = {key.decode(): value.decode() for key, value in metadata.items() if key in _SAID}
    try:
        version, size, features = (
            int(said.get(k, "0")) for k in ("schema", "patch_size", "n_features")
        )
    except ValueError:
        raise DataError(
            f"{where}: the file's metadata has {said}, expected whole numbers for schema, patch_size and n_features",
            hint=HINT,
        ) from None
    if version > SCHEMA_VERSION:
        raise DataError(
            f"{where} has schema {version}, this version reads up to {SCHEMA_VERSION}",
            hint="score it with the dbtssl that wrote it, or a newer one",
        )
    return PredictionInfo(
        said.get("split", ""),
        said.get("inference", ""),
        size or None,
        features,
        said.get("phantom") == "true",
        version,
    )


def _cast(table: pa.Table, where: str) -> pa.Table:
    """The known columns in the types that the rest expects."""
    if twice := sorted({name for name in table.column_names if table.column_names.count(name) > 1}):
        raise DataError(
            f"{where}: column {twice[0]} is there twice",
            hint="keep the one that is meant, or give the other another name",
        )
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        raise DataError(
            f"{where}: missing columns {', '.join(missing)}; has {', '.join(table.column_names) or 'none'}",
            hint=HINT,
        )
    if not table.num_rows:
        raise DataError(f"{where}: no rows", hint=HINT)
    out = {}
    for name in COLUMNS:
        if name not in table.column_names:
            continue
        if TYPES[name] == pa.string() and pa.types.is_floating(table[name].type):
            raise DataError(
                f"{where}: column {name} is {table[name].type}, expected text or whole numbers",
                hint=IDS,
            )
        try:
            out[name] = _as_type(table[name], TYPES[name])
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TypeError):
            raise DataError(
                f"{where}: column {name} is {table[name].type}, expected {TYPES[name]}", hint=HINT
            ) from None
        if out[name].null_count and name != "density":
            raise DataError(f"{where}: column {name} has empty cells", hint=HINT)
    return pa.table(out)


def _as_type(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    try:
        return column.cast(type_)
    except pa.ArrowTypeError:  # before pyarrow 19 a struct's fields have to be in order
        return pa.chunked_array([pa.array(column.to_pylist(), type=type_)])


def _flat(table: pa.Table, name: str, where: str) -> NDArray[Any]:
    flat = pc.list_flatten(table[name])
    if flat.null_count:
        raise DataError(f"{where}: column {name} holds empty values", hint=HINT)
    values: NDArray[Any] = flat.to_numpy()
    return values


def _features(
    table: pa.Table, made: PredictionInfo, sizes: NDArray[np.int64], where: str
) -> NDArray[np.float32] | None:
    if "features" not in table.column_names:
        return None
    flat = _flat(table, "features", where).astype(np.float32)
    rows = len(flat) // made.n_features if made.n_features else 0
    lengths = pc.list_value_length(table["features"]).to_numpy()
    of_slices = (lengths == made.n_features).all()
    if not made.n_features or not (of_slices or (lengths == sizes * made.n_features).all()):
        raise DataError(
            f"{where}: column features does not hold n_features = {made.n_features} numbers for each slice or patch",
            hint=HINT,
        )
    if not np.isfinite(flat).all():
        raise DataError(f"{where}: a feature is not finite", hint=HINT)
    return flat.reshape(rows, made.n_features)


def _boxes(
    table: pa.Table, z: NDArray[np.int64], volume: NDArray[np.int64], count: int, where: str
) -> tuple[tuple[Box, ...], ...]:
    found: list[list[Box]] = [[] for _ in range(count)]
    if "boxes" not in table.column_names:
        return ((),) * count
    for i in np.flatnonzero(pc.list_value_length(table["boxes"]).to_numpy()):
        for cell in table["boxes"][int(i)].as_py():
            box = _box(int(z[i]), cell or {})
            if box is None:
                raise DataError(
                    f"{where}: not a box: {cell} (volume {table['volume'][int(i)]}, slice {z[i]})",
                    hint="expected finite sides above 0, label 2 (benign) or 3 (cancer), distortion true or false",
                )
            if box in found[volume[i]]:
                raise DataError(
                    f"{where}: a box is there twice: {cell} (volume {table['volume'][int(i)]}, slice {z[i]})",
                    hint="keep one of the two: a lesion counts once",
                )
            found[volume[i]].append(box)
    return tuple(tuple(boxes) for boxes in found)


def _box(z: int, cell: Mapping[str, Any]) -> Box | None:
    """The box of a cell; None where it is none."""
    x, y, width, height = (cell.get(name) for name in ("x", "y", "width", "height"))
    label, distortion = cell.get("label"), cell.get("distortion")
    if x is None or y is None or width is None or height is None or distortion is None:
        return None
    if not np.isfinite([x, y, width, height]).all() or min(width, height) <= 0:
        return None
    if label not in (Label.BENIGN, Label.CANCER):
        return None
    return Box(z, x, y, width, height, Label(label), distortion)


def _encode(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], tuple[Any, ...]]:
    """Integer ids in order of appearance, and what they stand for."""
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    return encoded.indices.to_numpy().astype(np.int64), tuple(encoded.dictionary.to_pylist())


SCHEMA_VERSION = 2  # in the file's metadata as ``schema``; 1 had no boxes, shapes and density

BOX = pa.struct(
    [
        ("x", pa.float64()),
        ("y", pa.float64()),
        ("width", pa.float64()),
        ("height", pa.float64()),
        ("label", pa.int8()),
        ("distortion", pa.bool_()),
    ]
)

# name -> type as written, type as read, whether a file must have it
_COLUMNS = {
    "volume": (pa.string(), pa.string(), True),
    "patient": (pa.string(), pa.string(), True),
    "study": (pa.string(), pa.string(), False),
    "view": (pa.string(), pa.string(), False),
    "density": (pa.string(), pa.string(), False),
    "label": (pa.int8(), pa.int64(), True),
    "n_slices": (pa.int32(), pa.int64(), True),
    "rows": (pa.int32(), pa.int64(), False),
    "columns": (pa.int32(), pa.int64(), False),
    "z": (pa.int32(), pa.int64(), True),
    "abnormal": (pa.bool_(), pa.bool_(), True),
    "boxes": (pa.list_(BOX), pa.list_(BOX), False),
    "logits": (pa.list_(pa.float32()), pa.list_(pa.float64()), True),
    "y": (pa.list_(pa.int32()), pa.list_(pa.int64()), False),
    "x": (pa.list_(pa.int32()), pa.list_(pa.int64()), False),
    "features": (pa.large_list(pa.float16()), pa.large_list(pa.float16()), False),
}

COLUMNS = tuple(_COLUMNS)
REQUIRED = tuple(name for name, (_, _, required) in _COLUMNS.items() if required)
TYPES = {name: read for name, (_, read, _) in _COLUMNS.items()}
NOT_WRITTEN = ("density", "features")  # BCS-DBT has no density; features are large

SCHEMA = pa.schema(
    [
        pa.field(name, written, nullable=False)
        for name, (written, _, _) in _COLUMNS.items()
        if name not in NOT_WRITTEN
    ]
)
