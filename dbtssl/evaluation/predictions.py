"""The predictions table, checked: one row a slice, the logits of all its patches kept.

Columns: ``volume, patient, study, view`` (text), ``label`` (0 normal, 1 actionable, 2 benign, 3 cancer), ``z`` and
``n_slices`` (slice position from 0, slices in the volume), ``abnormal`` (the slice's label), and three lists of one
length, ``logits, y, x`` (a patch's logit of *abnormal* and its top-left corner in pixels).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dbtssl.data.records import Label
from dbtssl.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TEXT = ("volume", "patient", "study", "view")
INTEGERS = ("label", "z", "n_slices")
LISTS = ("logits", "y", "x")
COLUMNS = (*TEXT, *INTEGERS, "abnormal", *LISTS)
HINT = "predict again with `dbtssl benchmark`; dbtssl/evaluation/predictions.py lists the columns"


@dataclass(frozen=True)
class Predictions:
    """Slices in order of volume and z. Volumes are in order of their ids.

    ``volumes``, ``patients`` and ``studies`` are ids, one a volume; ``labels`` and ``n_slices`` are ``(V,)``. Slice i
    belongs to volume ``volume[i]``, ``(S,)``; its logits are ``logits[offsets[i]:offsets[i + 1]]``.
    """

    volumes: tuple[str, ...]
    patients: tuple[str, ...]
    studies: tuple[str, ...]
    labels: NDArray[np.int64]
    n_slices: NDArray[np.int64]
    volume: NDArray[np.int64]
    z: NDArray[np.int64]
    abnormal: NDArray[np.bool_]
    logits: NDArray[np.float64]
    offsets: NDArray[np.int64]

    @property
    def volume_offsets(self) -> NDArray[np.int64]:
        """The slices of volume v are ``volume_offsets[v]:volume_offsets[v + 1]``."""
        return np.searchsorted(self.volume, np.arange(len(self.volumes) + 1)).astype(np.int64)


def read_predictions(path: Path) -> Predictions:
    """Read and check a Parquet file; `DataError` where it is missing, broken or not such a table."""
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise DataError(f"no predictions at {path}", hint="check the path") from None
    except (pa.ArrowInvalid, OSError) as exc:
        raise DataError(f"{path} is not a Parquet file: {exc}", hint=HINT) from None
    return parse_predictions(table, str(path))


def parse_predictions(table: pa.Table, where: str = "predictions") -> Predictions:
    """Check a table and put it in order; every `DataError` names ``where``, the column and the first bad slice."""
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
    for name in (*TEXT, "label", "n_slices"):
        column = _encode(table[name])[0]
        refuse(column != column[first][volume], f"{name} changes within a volume")
    refuse(abnormal & (label < Label.BENIGN), "an abnormal slice in a volume that was not biopsied")
    sizes = pc.list_value_length(table["logits"]).to_numpy()
    refuse(sizes == 0, "no logits")
    for name in ("y", "x"):
        lengths = pc.list_value_length(table[name]).to_numpy()
        refuse(lengths != sizes, f"{name} and logits differ in length")
    flat = pc.list_flatten(table["logits"])
    if flat.null_count:
        raise DataError(f"{where}: column logits holds empty values", hint=HINT)
    logits = flat.to_numpy()
    offsets = np.r_[0, np.cumsum(sizes)].astype(np.int64)
    refuse(~np.logical_and.reduceat(np.isfinite(logits), offsets[:-1]), "a logit is not finite")
    return Predictions(
        volumes=ids,
        patients=tuple(table["patient"].take(first).to_pylist()),
        studies=tuple(table["study"].take(first).to_pylist()),
        labels=label[first],
        n_slices=n_slices[first],
        volume=volume,
        z=z,
        abnormal=abnormal,
        logits=logits,
        offsets=offsets,
    )


def without_actionable(p: Predictions) -> Predictions:
    """The same without volumes labelled Actionable."""
    keep = p.labels != Label.ACTIONABLE
    if keep.all():
        return p
    slices = keep[p.volume]
    sizes = np.diff(p.offsets)

    def kept(values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(v for v, k in zip(values, keep, strict=True) if k)

    return replace(
        p,
        volumes=kept(p.volumes),
        patients=kept(p.patients),
        studies=kept(p.studies),
        labels=p.labels[keep],
        n_slices=p.n_slices[keep],
        volume=(np.cumsum(keep) - 1)[p.volume[slices]],
        z=p.z[slices],
        abnormal=p.abnormal[slices],
        logits=p.logits[np.repeat(slices, sizes)],
        offsets=np.r_[0, np.cumsum(sizes[slices])].astype(np.int64),
    )


def _cast(table: pa.Table, where: str) -> pa.Table:
    """The known columns in the types that the rest expects."""
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise DataError(
            f"{where}: missing columns {', '.join(missing)}; has {', '.join(table.column_names) or 'none'}",
            hint=HINT,
        )
    if not table.num_rows:
        raise DataError(f"{where}: no rows", hint=HINT)
    types: dict[str, Any] = dict.fromkeys(TEXT, pa.string()) | dict.fromkeys(INTEGERS, pa.int64())
    types |= {"abnormal": pa.bool_(), "logits": pa.list_(pa.float64())}
    types |= {"y": pa.list_(pa.int64()), "x": pa.list_(pa.int64())}
    out = {}
    for name in COLUMNS:
        try:
            out[name] = table[name].cast(types[name])
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise DataError(
                f"{where}: column {name} is {table[name].type}, expected {types[name]}", hint=HINT
            ) from None
        if out[name].null_count:
            raise DataError(f"{where}: column {name} has empty cells", hint=HINT)
    return pa.table(out)


def _encode(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], tuple[Any, ...]]:
    """Integer ids in order of appearance, and what they stand for."""
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), tuple(encoded.dictionary.to_pylist())
