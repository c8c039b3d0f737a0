"""How much room a prepared data set will take, found from file sizes and a few headers before anything is written."""

from __future__ import annotations

import errno
import shutil
from contextlib import contextmanager
from statistics import median_low
from typing import TYPE_CHECKING

from dbtssl.data.dicom.frames import read_header
from dbtssl.errors import DataError, MachineError, system_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from dbtssl.data.preparation.prepare_volume import Target
    from dbtssl.interfaces import RawVolume

SAMPLE = 16  # volumes whose headers are read
COMPRESSION = 3.7  # raw bytes to stored ones: 3.8 to 4.1 on a full-size phantom volume, at native, 1024 and half


def check_space(
    out: Path, raws: Sequence[RawVolume], sizes: Mapping[str, int], target: Target
) -> None:
    """Refuse to begin where the disk of ``out`` has less room than ``raws`` will take; ``sizes`` in bytes by volume."""
    needed = estimate(raws, sizes, target)
    free = shutil.disk_usage(out).free
    if needed > free:
        raise DataError(
            f"the disk of {out} has {gigabytes(free)} free, the prepared volumes take about {gigabytes(needed)}",
            hint="make room, give a folder on another disk, or use --resolution half or a smaller --short-side",
        )


def estimate(raws: Sequence[RawVolume], sizes: Mapping[str, int], target: Target) -> int:
    """Bytes that the prepared ``raws`` will take; 0 where no header of the sample can be read.

    The sample gives stored bytes for each byte of the files, which the total size of the files then multiplies. It is
    the median, so that a single header that is wrong refuses no data set.
    """
    step = max(1, len(raws) // SAMPLE)
    ratios = []
    for raw in raws[::step]:
        try:
            header = read_header(raw.path) if raw.reader is None else raw.reader.header()
        except DataError:
            continue
        rows, columns = target.shape(header.rows, header.columns)
        taken = header.n_slices * rows * columns * 2 / COMPRESSION
        ratios.append(taken / sizes[raw.volume.id])
    total = sum(sizes[raw.volume.id] for raw in raws)
    return round(total * median_low(ratios)) if ratios else 0


def gigabytes(n: float) -> str:
    """``n`` bytes in units of 10^9, as disks are sold; small amounts in units of 10^6."""
    return f"{n / 1e9:,.1f} GB" if n >= 1e9 else f"{n / 1e6:,.1f} MB"


@contextmanager
def disk(out: Path) -> Iterator[None]:
    """Turn what goes wrong with writing below ``out`` into a `DataError`."""
    try:
        yield
    except OSError as exc:
        error = system_error(exc, f"cannot read or write in {out}")
        if isinstance(error, MachineError):
            raise error from None
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f"the disk of {out} is full",
                hint="make room and run again: what is finished is kept; or use a smaller --short-side",
            ) from None
        if exc.errno == errno.EIO and error:
            raise error from None
        if exc.errno == errno.EROFS:
            hint = "its disk is mounted for reading only: give another folder"
        else:
            hint = (
                "check the folder's rights"
                if isinstance(exc, PermissionError)
                else "check the folder and its disk"
            )
        raise DataError(f"cannot write into {out}: {exc.strerror or exc}", hint=hint) from None
