"""One compressed array a file: slice-wise chunks, blocks of 128 x 128, written by frames, read by rectangles."""

from __future__ import annotations

import errno
import hashlib
import mmap
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import blosc2
import numpy as np

from dbtssl.data.records import Rect
from dbtssl.errors import DataError, system_error
from dbtssl.io import atomic_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import DTypeLike, NDArray

BLOCK = 128  # pixels; a random 512 x 512 patch then touches at most 25 blocks of a slice
PROBE = 1 << 24  # bytes; more than a compressed frame
LEVEL = 5  # of LZ4; on the phantom levels 1 to 9 make files of the same size within 5 %

S = TypeVar("S", bound=np.generic)


def write_array(
    path: Path, frames: Iterable[NDArray[S]], shape: tuple[int, int, int], dtype: DTypeLike
) -> str:
    """Write ``frames``, each ``(rows, columns)``, as one array ``shape = (z, rows, columns)``; return their SHA-256.

    The hash is that of the raw little-endian values in C order. The file appears under its name only when complete.
    Each frame goes to the disk as it comes, so no more than one is held; a full disk is an ordinary `OSError`.
    """
    n, rows, columns = shape
    content = hashlib.sha256()
    z = 0
    with atomic_path(path) as temporary:
        with _told_why(temporary):
            array = blosc2.empty(
                shape,
                dtype=np.dtype(dtype),
                chunks=(1, rows, columns),
                blocks=(1, min(BLOCK, rows), min(BLOCK, columns)),
                cparams=blosc2.CParams(
                    codec=blosc2.Codec.LZ4,
                    clevel=LEVEL,
                    filters=[blosc2.Filter.BITSHUFFLE],
                    nthreads=1,
                ),
                contiguous=True,
                urlpath=str(temporary),
                mode="w",
            )
        for frame in frames:
            plain = np.ascontiguousarray(frame, dtype=np.dtype(dtype).newbyteorder("<"))
            content.update(plain.data)
            with _told_why(temporary):
                array[z] = plain
            z += 1
        if z != n:
            raise DataError(f"{path.name}: expected {n} frames, got {z}")
        with _told_why(temporary):  # the end of the file, which is read first, is there
            blosc2.open(str(temporary), mode="r")
    return content.hexdigest()


@contextmanager
def _told_why(temporary: Path) -> Iterator[None]:
    """Raise the disk's own error where blosc2 says only that it could not write: the next bytes fail likewise."""
    try:
        yield
    except RuntimeError as exc:
        with temporary.open("ab") as file:
            file.write(bytes(PROBE))
        raise OSError(errno.EIO, f"blosc2 cannot write: {exc}", temporary.name) from exc


def open_array(path: Path) -> blosc2.NDArray:
    """Open for reading through a memory map; nothing is decompressed yet."""
    try:
        there = path.is_file()
    except OSError as exc:
        raise _not_read(path, exc) from exc
    if not there:
        raise DataError(
            f"the prepared data set lacks {path}",
            hint="run dbtssl data prepare again with the same arguments; it writes what is missing",
        )
    try:
        return blosc2.open(str(path), mode="r", mmap_mode="r", dparams={"nthreads": 1})
    except (
        Exception
    ) as exc:  # blosc2 says of a file that cannot be opened that it is none of its own
        raise _not_read(path, exc) from exc


def read_rect(array: blosc2.NDArray, z: int, rect: Rect) -> NDArray[np.generic]:
    """Decompress ``rect`` of slice ``z``, and of the rest only what shares its blocks; ``rect`` lies inside."""
    n = array.shape[0]
    if not 0 <= z < n:
        raise IndexError(f"slice {z} of a volume with {n} slices")
    out: NDArray[np.generic]
    out = np.empty((1, rect.y1 - rect.y0, rect.x1 - rect.x0), dtype=array.dtype)
    if out.size:
        # four times faster than array[z, y0:y1, x0:x1], which parses its key in Python
        try:
            array.get_slice_numpy(out, ((z, rect.y0, rect.x0), (z + 1, rect.y1, rect.x1)))
        except (RuntimeError, MemoryError) as exc:
            raise _not_read(array.urlpath, exc) from exc
    return out.reshape(out.shape[1:])


def _not_read(path: Path | str, exc: BaseException) -> DataError:
    """Why an array cannot be read: what the system says of the file, and damage only where it says nothing."""
    what = f"{path} cannot be read"
    if error := system_error(exc, what):
        return error
    try:
        with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
            file.seek(0)
            while file.read(1 << 20):
                pass
    except ValueError:  # an empty file
        pass
    except (OSError, MemoryError) as failed:
        if error := system_error(failed, what):
            return error
    return DataError(
        f"{path} is damaged",
        hint="delete the file and run dbtssl data prepare again with the same arguments",
    )


def inside(rect: Rect | None, rows: int, columns: int) -> Rect:
    """The part of ``rect`` inside an image, all of the image where it is None; empty where they do not meet."""
    if rect is None:
        return Rect(0, 0, rows, columns)
    y0, y1 = (min(max(y, 0), rows) for y in (rect.y0, rect.y1))
    x0, x1 = (min(max(x, 0), columns) for x in (rect.x0, rect.x1))
    return Rect(y0, x0, y1, x1)


def zero_pad(part: NDArray[S], of: Rect, rect: Rect | None) -> NDArray[S]:
    """Put ``part``, which covers ``of``, into ``rect``; the rest of ``rect`` is 0."""
    if rect is None or rect == of:
        return part
    out = np.zeros((rect.y1 - rect.y0, rect.x1 - rect.x0), dtype=part.dtype)
    y, x = of.y0 - rect.y0, of.x0 - rect.x0
    if part.size:
        out[y : y + part.shape[0], x : x + part.shape[1]] = part
    return out
