"""Fetch series of BCS-DBT into a folder: what is there already is known by its size and not fetched again.

The folders are those of idc-index, with one file each:
``breast_cancer_screening_dbt/<PatientID>/<StudyInstanceUID>/MG_<SeriesInstanceUID>``. Only `idc_fetch` speaks to the
network.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from dbtssl.data.download.series_index import COLLECTION_ID, INSTALL
from dbtssl.data.preparation.disk_space import gigabytes
from dbtssl.errors import DataError
from dbtssl.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dbtssl.data.download.series_index import Series

    Fetch = Callable[[Sequence[Series], Path], None]

TEMPLATE = "%collection_id/%PatientID/%StudyInstanceUID/%Modality_%SeriesInstanceUID"
BATCH = 32  # series of one call of idc-index, some 2.4 GB; its own fixed cost is half a second
MEGA = 10**6
SPARE = 10**9  # bytes of the disk that are left alone
LOCK = ".download.lock"

CITATIONS = (
    "Buda M, Saha A, Walsh R, Ghate S, Li N, Swiecicki A, Lo JY, Yang J, Mazurowski M. Breast Cancer Screening - "
    "Digital Breast Tomosynthesis (BCS-DBT), version 5. The Cancer Imaging Archive, 2020. doi 10.7937/E4WT-CD02",
    "Buda M, et al. A data set and deep learning algorithm for the detection of masses and architectural distortions "
    "in digital breast tomosynthesis images. JAMA Network Open, 2021. doi 10.1001/jamanetworkopen.2021.19100",
)


@dataclass(frozen=True)
class Plan:
    """What was selected, divided into what lies in the folder ``out`` already and what is to be fetched."""

    out: Path
    there: tuple[Series, ...]
    missing: tuple[Series, ...]
    free: int  # bytes of the disk that holds ``out``

    @property
    def needed(self) -> int:
        """Bytes to fetch."""
        return total(self.missing)

    @property
    def fits(self) -> bool:
        """Whether the disk holds what is missing, and `SPARE` bytes more."""
        return not self.missing or self.needed + SPARE <= self.free

    @property
    def licences(self) -> tuple[str, ...]:
        """The licences that the index names for what was selected."""
        return tuple(sorted({one.licence for one in (*self.there, *self.missing)}))

    def check(self) -> None:
        """Raise `DataError` where the disk is too small."""
        if not self.fits:
            raise DataError(
                f"{self.out}: {gigabytes(self.needed)} to fetch, {gigabytes(self.free)} free, "
                f"{gigabytes(SPARE)} of which are left alone",
                hint="make room, take another disk, or take fewer patients with --limit or --patients",
            )


def make_plan(selected: Sequence[Series], out: Path) -> Plan:
    """Look what of ``selected`` lies in ``out`` and how much room its disk has; nothing is written.

    Raises `DataError` where ``out`` is a file.
    """
    there: list[Series] = []
    missing: list[Series] = []
    for one in selected:
        (there if is_there(one, out) else missing).append(one)
    return Plan(out, tuple(there), tuple(missing), free_space(out))


def folder_of(one: Series, out: Path) -> Path:
    """Where idc-index puts the file of a series."""
    return out / COLLECTION_ID / one.patient / one.study_uid / f"{one.modality}_{one.uid}"


def is_there(one: Series, out: Path) -> bool:
    """Whether the folder of a series holds a DICOM file of just its size.

    s5cmd writes to a name of its own and renames at the end, so that a file with its final name is whole.
    """
    files = folder_of(one, out).glob("*.dcm")
    return any(path.is_file() and path.stat().st_size == one.size for path in files)


def free_space(out: Path) -> int:
    """Free bytes of the disk that holds ``out``, which need not exist yet."""
    place = out.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise DataError(f"{place} is not a folder", hint="give another folder")
    return shutil.disk_usage(place).free


def download(plan: Plan, fetch: Fetch) -> None:
    """Fetch what is missing, `BATCH` series at a time; each must lie there with its size afterwards.

    Raises `DataError` where the disk is or becomes too small, where another download writes into the folder, at once
    where nothing of a batch arrived, and at the end where some did not. What arrived is kept.
    """
    if not plan.missing:
        return
    plan.check()
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
        with FileLock(plan.out / LOCK, timeout=0):
            lost = _fetch_all(plan, fetch)
    except Timeout:
        raise DataError(
            f"another download writes into {plan.out}", hint="wait for it, or give another folder"
        ) from None
    except OSError as exc:
        raise DataError(
            f"cannot write into {plan.out}: {exc}", hint="check the folder's rights and its disk"
        ) from None
    if lost:
        raise _not_arrived(lost, len(plan.missing))


def _fetch_all(plan: Plan, fetch: Fetch) -> list[Series]:
    """The series that did not arrive."""
    lost: list[Series] = []
    arrived = shown = 0
    with progress("download", plan.needed // MEGA, "MB") as ticker:
        for start in range(0, len(plan.missing), BATCH):
            batch = plan.missing[start : start + BATCH]
            _sweep(batch, plan.out)
            Plan(plan.out, (), batch, free_space(plan.out)).check()
            fetch(batch, plan.out)
            gone = [one for one in batch if not is_there(one, plan.out)]
            if len(gone) == len(batch):
                raise _not_arrived([*lost, *plan.missing[start:]], len(plan.missing))
            lost += gone
            arrived += total(batch) - total(gone)
            ticker.advance(arrived // MEGA - shown, batch[-1].patient)
            shown = arrived // MEGA
    return lost


def _sweep(batch: Sequence[Series], out: Path) -> None:
    """Remove what a killed s5cmd left: ``<name>.dcm<digits>``."""
    for one in batch:
        for path in folder_of(one, out).glob("*.dcm[0-9]*"):
            path.unlink(missing_ok=True)


def _not_arrived(lost: Sequence[Series], of: int) -> DataError:
    first = lost[0]
    return DataError(
        f"{len(lost)} of {of} volumes did not arrive with the size that the index names, "
        f"the first of them series {first.uid} of patient {first.patient} ({first.size:,} bytes)",
        hint="see whether the network reaches https://s3.amazonaws.com, then run the same command again: "
        "what arrived is not fetched again",
    )


def idc_fetch(selected: Sequence[Series], source: str = "aws") -> Fetch:
    """A function that fetches series through idc-index from the buckets of ``aws`` or ``gcs``.

    idc-index only logs what s5cmd could not fetch and raises nothing; the caller has to look. Raises `DataError` where
    the package is not installed or its s5cmd does not run.
    """
    try:
        from idc_index.index import IDCClient
    except ImportError:
        raise DataError("the package idc-index is not installed", hint=INSTALL) from None
    logging.getLogger("idc_index").setLevel(logging.ERROR)
    try:
        client: Any = IDCClient()
    except (OSError, subprocess.SubprocessError) as exc:
        raise DataError(
            f"idc-index cannot start: {exc}", hint=f"install it again: {INSTALL}"
        ) from None
    wanted = client.index["SeriesInstanceUID"].isin([one.uid for one in selected])
    client.index = client.index[wanted]  # it joins with all of it in every call: 4 s and 1 GB

    def fetch(batch: Sequence[Series], out: Path) -> None:
        client.download_from_selection(
            str(out),
            seriesInstanceUID=[one.uid for one in batch],
            dirTemplate=TEMPLATE,
            source_bucket_location=source,
            quiet=True,
            show_progress_bar=False,
        )

    return fetch


def total(series: Sequence[Series]) -> int:
    """Bytes of all of them."""
    return sum(one.size for one in series)
