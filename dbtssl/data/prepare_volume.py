"""One volume from its DICOM file into the store: read, turn, resize, mask, write; a frame at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from dbtssl.data.dicom import read_frames, read_header
from dbtssl.data.display import apply_window
from dbtssl.data.orientation import is_rotated, middle_slices, rotate
from dbtssl.data.store import write_volume
from dbtssl.data.tissue import tissue_mask
from dbtssl.data.workers import Interrupted
from dbtssl.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from dbtssl.data.cohort_tables import StoredVolume
    from dbtssl.data.dicom import Header
    from dbtssl.data.records import Box, Volume
    from dbtssl.data.tissue import TissueRule
    from dbtssl.interfaces import RawVolume


def prepare_volume(
    raw: RawVolume,
    out: Path,
    short_side: int | None,
    rule: TissueRule,
    stop: Callable[[], bool] = lambda: False,
) -> StoredVolume:
    """Write the frames and the tissue mask of ``raw`` below ``out``.

    ``stop`` is asked before each frame. Raises `DataError` for a file that cannot be read, a number of slices other
    than the table's, and a box that lies outside.
    """
    header = read_header(raw.path)
    check_boxes(raw.volume, header)
    middle = np.stack([*read_frames(raw.path, middle_slices(header.n_slices), header)])
    rotated = is_rotated(middle, raw.volume.side)
    rows, columns = fitted(header.rows, header.columns, short_side)
    volume = replace(
        raw.volume,
        n_slices=header.n_slices,
        rows=rows,
        columns=columns,
        window=header.window,
        boxes=tuple(
            scaled(box, rows / header.rows, columns / header.columns) for box in raw.volume.boxes
        ),
    )
    mean = np.zeros((rows, columns), dtype=np.float32)

    def frames() -> Iterator[NDArray[np.uint16]]:
        for stored in read_frames(raw.path, header=header):
            if stop():
                raise Interrupted
            frame = resized(rotate(stored) if rotated else stored, rows, columns)
            np.add(mean, apply_window(frame, header.window) / header.n_slices, out=mean)
            yield frame

    return write_volume(out, volume, frames(), lambda: tissue_mask(mean, rule), rotated=rotated)


def check_boxes(volume: Volume, header: Header) -> None:
    """Refuse a volume whose table and file cannot belong together."""
    if volume.n_slices and volume.n_slices != header.n_slices:
        raise DataError(
            f"VolumeSlices {volume.n_slices} in the table of boxes, {header.n_slices} frames in the file",
            hint="the table and the file are of different volumes or releases",
        )
    for box in volume.boxes:
        if not 0 <= box.z < header.n_slices:
            raise DataError(
                f"a box on slice {box.z}, the volume has slices 0 to {header.n_slices - 1}",
                hint="slices count from 0",
            )
        if box.x >= header.columns or box.y >= header.rows:
            raise DataError(
                f"a box at x {box.x:g}, y {box.y:g}, the slices have "
                f"{header.columns} columns and {header.rows} rows",
                hint="boxes are in pixels of the full resolution",
            )


def fitted(rows: int, columns: int, short_side: int | None) -> tuple[int, int]:
    """Rows and columns after the shorter one is brought to ``short_side``, never enlarged."""
    if short_side is None or short_side >= min(rows, columns):
        return rows, columns
    scale = short_side / min(rows, columns)
    return round(rows * scale), round(columns * scale)


def scaled(box: Box, by_rows: float, by_columns: float) -> Box:
    """The box in a resized slice; edges map to edges."""
    return replace(
        box,
        x=box.x * by_columns,
        y=box.y * by_rows,
        width=box.width * by_columns,
        height=box.height * by_rows,
    )


def resized(frame: NDArray[np.uint16], rows: int, columns: int) -> NDArray[np.uint16]:
    """Shrink a frame with a triangle filter as wide as the output's pixel spacing, which is what keeps aliases out."""
    if frame.shape == (rows, columns):
        return frame
    image = Image.fromarray(frame.astype(np.float32))
    small = np.asarray(image.resize((columns, rows), Image.Resampling.BILINEAR))
    out: NDArray[np.uint16] = np.rint(small).astype(np.uint16)
    return out
