"""One volume from its DICOM file into the store: read, turn, resize, mask, write; a frame at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu

from dbtssl.data.dicom.codestream import half_shape
from dbtssl.data.dicom.frames import read_frames, read_header
from dbtssl.data.dicom.header import DAMAGED, refused
from dbtssl.data.dicom.identity import check_identity
from dbtssl.data.prepared.display import apply_window
from dbtssl.data.prepared.prepared_dataset import write_volume
from dbtssl.errors import DataError
from dbtssl.interfaces import Expected
from dbtssl.workers import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dbtssl.data.dicom.frames import Header
    from dbtssl.data.prepared.cohort_tables import StoredVolume
    from dbtssl.data.records import Box, Volume, Window
    from dbtssl.interfaces import RawVolume


STRIP = 32  # rows; 0.25 MB as floats at 1996 columns


def prepare_volume(
    raw: RawVolume,
    out: Path,
    target: Target,
    rule: TissueRule,
    stop: Callable[[], bool] = lambda: False,
) -> Prepared:
    """Write the frames and the tissue mask of ``raw`` below ``out``, every frame being decoded once.

    At any time there are at most the frames that decide the orientation, one more, and their mean. ``stop`` is asked
    before each frame. Raises `DataError` for a file that cannot be read, a header that contradicts the table, a number
    of slices other than the table's, and a box that lies outside.
    """
    header = checked_header(raw)
    rows, columns = target.shape(header.rows, header.columns)
    decided = {} if raw.oriented else _decoded(raw, header, middle_slices(header.n_slices), target)
    rotated = bool(decided) and is_rotated(np.stack([*decided.values()]), raw.volume.side)
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
        left = [z for z in range(header.n_slices) if z not in decided]
        others = _frames(raw, header, left, target)
        for z in range(header.n_slices):
            if stop():
                raise Interrupted
            stored = decided.pop(z) if z in decided else next(others)
            frame = resized(rotate(stored) if rotated else stored, rows, columns)
            _add(mean, frame, header.window, header.n_slices)
            yield frame

    stored = write_volume(out, volume, frames(), lambda: tissue_mask(mean, rule), rotated=rotated)
    return Prepared(stored, header.notes, pixel_width(header, columns), header.spacing)


def checked_header(raw: RawVolume) -> Header:
    """The header of ``raw``, refused where it contradicts what the tables say of the volume and of its boxes."""
    if raw.reader is None:
        expected = raw.expected if raw.expected.view else Expected(view=raw.volume.view)
        check_identity(raw.path, expected)
        header = read_header(raw.path)
    else:
        header = raw.reader.header()
    check_boxes(raw.volume, header)
    return header


class Prepared(NamedTuple):
    """A volume in the store, what was odd about its file, and how large its pixels are."""

    stored: StoredVolume
    notes: tuple[str, ...]
    pixel: float  # width of a stored pixel in pixels of the file
    spacing: float  # of the file's pixels in mm; 0 where it is not known


def pixel_width(header: Header, columns: int) -> float:
    """How many pixels of the file one of ``columns`` stored ones is wide."""
    return header.columns / columns


class Target(NamedTuple):
    """At what resolution a volume is stored: ``half`` of what the file holds, then shrunk to ``short_side``."""

    short_side: int | None = None
    half: bool = False

    def shape(self, rows: int, columns: int) -> tuple[int, int]:
        """Rows and columns of the stored slices of a volume of ``rows`` x ``columns``."""
        return fitted(
            *(half_shape(rows, columns) if self.half else (rows, columns)), self.short_side
        )


def _frames(
    raw: RawVolume, header: Header, slices: Sequence[int], target: Target
) -> Iterator[NDArray[np.uint16]]:
    """Frames of ``raw`` as they are stored, at half resolution if that is asked for and can be had."""
    if raw.reader is None:
        frames = read_frames(raw.path, slices, header, half=target.half)
    else:
        frames = iter(raw.reader.frames(slices))
    for z in slices:
        with refused(f"slice {z} of {header.n_slices} cannot be read"):
            frame = next(frames, None)
        if frame is None:
            raise DataError(f"no slice {z}, the header says {header.n_slices}", hint=DAMAGED)
        yield frame


def _decoded(
    raw: RawVolume, header: Header, slices: Sequence[int], target: Target
) -> dict[int, NDArray[np.uint16]]:
    return dict(zip(slices, _frames(raw, header, slices, target), strict=True))


def _add(
    mean: NDArray[np.float32], frame: NDArray[np.uint16], window: Window, n_slices: int
) -> None:
    """Add the share of one windowed frame to ``mean``, both ``(rows, columns)``.

    A few rows at a time, which stay in the cache: on whole frames the workers wait for memory, and for each other.
    """
    for y in range(0, len(mean), STRIP):
        rows = slice(y, y + STRIP)
        mean[rows] += apply_window(frame[rows], window) / n_slices


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
    """The box in a resized slice; edges map to edges.

    At the half-resolution level, whose samples lie on every other pixel, that is right to a quarter of its pixel.
    """
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


S = TypeVar("S", bound=np.generic)

MIDDLE = 3  # frames about the middle that decide; one in twenty is then decoded twice


def middle_slices(n_slices: int, count: int = MIDDLE) -> range:
    """The ``count`` slices about the middle of a volume, fewer where it has fewer."""
    first = max(0, (n_slices - count) // 2)
    return range(first, min(n_slices, first + count))


def stored_side(frames: NDArray[np.generic]) -> str:
    """``l`` or ``r``: the side of the brighter edge column of ``frames`` ``(..., rows, columns)``, summed."""
    left, right = (frames[..., column].sum(dtype=np.float64) for column in (0, -1))
    return "r" if left < right else "l"


def is_rotated(frames: NDArray[np.generic], side: str) -> bool:
    """Whether ``frames`` ``(..., rows, columns)`` of a breast of ``side`` (``l`` or ``r``) are stored rotated."""
    return stored_side(frames) != side


def rotate(frames: NDArray[S]) -> NDArray[S]:
    """Turn ``frames`` ``(..., rows, columns)`` by 180 degrees in their plane; a view, nothing is copied."""
    return frames[..., ::-1, ::-1]


TissueRule = Literal["otsu-root", "otsu"]


def tissue_mask(mean: NDArray[np.floating], rule: TissueRule = "otsu-root") -> NDArray[np.bool_]:
    """Where tissue is, ``(rows, columns)``, from the mean over slices of the windowed volume, ``(rows, columns)``.

    Otsu's threshold (1979), then the largest 8-connected part with its holes filled. The mean over slices carries
    less noise than any slice and, unlike the maximum, no bright streak of a single one.

    ``otsu`` takes the grey levels as they are (SIFT-DBT, on the first slice). With an implant, a bright pectoral
    muscle or dense tissue that threshold falls between fat and glands, and much of the breast is lost. ``otsu-root``,
    the default, takes their fourth root, which draws the bright levels together and leaves the background, at 0, where
    it is. Least IoU with the silhouettes of 26 phantom volumes: 0.989, ``otsu`` 0.66. With what is not black in 20
    real slices: 0.991, ``otsu`` 0.11.
    """
    levels = np.sqrt(np.sqrt(mean)) if rule == "otsu-root" else mean
    if levels.min() == levels.max():
        raise DataError(
            f"no tissue: every pixel of the volume shows as {float(mean.min()):g}",
            hint="look at the file and its window; leave the volume out of the tables if it is empty",
        )
    parts, n = ndimage.label(levels > threshold_otsu(levels), structure=np.ones((3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=n + 1)[1:]
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(parts == sizes.argmax() + 1)
    return filled
