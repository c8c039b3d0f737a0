"""Columns of the predictions table, and the types that they are written and read in."""

from __future__ import annotations

import pyarrow as pa

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
