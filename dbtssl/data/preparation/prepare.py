"""From DICOM files to a prepared data set: one process a core, one volume at a time, resumable."""

from __future__ import annotations

from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from filelock import FileLock, Timeout
from pydantic import Field

from dbtssl.config import Config, result_fields
from dbtssl.data.deidentify import Privacy, privacy_of
from dbtssl.data.preparation.disk_space import check_space, disk
from dbtssl.data.preparation.pixel_sizes import pixel_sizes
from dbtssl.data.preparation.preparation_state import (
    Bad,
    Record,
    check_bad,
    made_from,
    read_quarantine,
    read_record,
    remove_half_written,
    remove_volume,
    write_notes,
    write_quarantine,
    write_record,
)
from dbtssl.data.preparation.prepare_volume import (
    Target,
    TissueRule,
    checked_header,
    pixel_width,
    prepare_volume,
)
from dbtssl.data.prepared.prepared_dataset import MANIFEST, dataset_digest, read_manifest, seal
from dbtssl.data.records import Cohort
from dbtssl.errors import DataError, MachineError, system_error
from dbtssl.progress import progress
from dbtssl.workers import cores, each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dbtssl.data.deidentify import Ids
    from dbtssl.interfaces import RawVolume, Source

LOCK = ".prepare.lock"
CHECKS = 1  # of a file; more of them, or stricter ones, are another number

T = TypeVar("T")


class PrepareConfig(Config):
    """What preparation does to the pixels, and to the ids."""

    short_side: int | None = Field(
        default=None,
        ge=16,
        description="shorter side of a slice in pixels; never enlarged; none: as stored",
    )
    resolution: Literal["native", "half"] = Field(
        default="native",
        description="what is decoded: native, or the half-resolution level of JPEG 2000, 3 times faster",
    )
    tissue: TissueRule = Field(
        default="otsu-root",
        description="threshold of the tissue mask: otsu-root, or otsu as in SIFT-DBT",
    )
    keep_ids: bool = Field(
        default=False,
        description="keep patient and study ids of a source that is not public",
    )

    def settings(self) -> dict[str, Any]:
        """What decides the data set; younger fields are in it only if set, so that older data sets stay valid."""
        younger = {"resolution": "native", "keep_ids": False}
        fields = result_fields(self)
        return {k: v for k, v in fields.items() if k not in younger or v != younger[k]}


def prepare(
    source: Source,
    raws: Sequence[RawVolume],
    out: Path,
    config: PrepareConfig,
    *,
    name: str,
    phantom: bool,
    jobs: int | None,
    max_bad: int = 0,
) -> None:
    """Prepare ``raws`` of ``source`` into the folder ``out``; a second run does nothing, an interrupted one goes on.

    ``jobs`` is the number of processes, by default one a core; the result does not depend on it. A process holds a few
    decoded frames (at full resolution less than 0.7 GB in all). Volumes that cannot be prepared are listed in
    `quarantine.csv`; with up to ``max_bad`` of them the data set holds the rest. ``name`` is the source's registered
    one; whether its ids are public the source says itself (`privacy_of`). `DataError` for more bad volumes, too little
    room or a full disk, and a folder that holds a data set of other settings.
    """
    if not raws:
        raise DataError(f"the source {name} lists no volume", hint="check its tables")
    privacy = privacy_of(source, keep_ids=config.keep_ids)
    raws = privacy.apply(raws)
    Cohort(raw.volume for raw in raws)  # refuses a volume that is listed twice
    with disk(out), _locked(out):
        manifest = _same_settings(out, name, phantom, config, privacy.kind)
        records, bad = _prepare(raws, out, config, jobs or cores(), privacy, resumed=not manifest)
        write_quarantine(out, bad)
        files = {raw.volume.id: raw.path for raw in raws} if privacy.public else {}
        check_bad(out, bad, len(raws), max_bad, files)
        write_notes(out, {r.stored.volume.id: r.notes for r in records})
        stored = [record.stored for record in records]
        manifest = read_manifest(out)
        settings = config.settings()
        digest = dataset_digest(name, phantom, settings, stored)
        found = manifest and (
            manifest["digest"],
            manifest.get("counts", {}).get("quarantined", 0),
            manifest.get("pixel_size"),
        )
        if found != (digest, len(bad), pixel_sizes(records)):
            (out / MANIFEST).unlink(missing_ok=True)
            seal(
                out,
                stored,
                source=name,
                phantom=phantom,
                config=settings,
                quarantined=len(bad),
                ids=privacy.kind,
                pixels=pixel_sizes(records),
            )


def _same_settings(
    out: Path, name: str, phantom: bool, config: PrepareConfig, ids: Ids
) -> dict[str, Any] | None:
    """The manifest of what ``out`` holds already, refused where that was prepared otherwise."""
    manifest = read_manifest(out)
    asked = (name, phantom, config.settings(), ids)
    if manifest is None:
        return None
    found = (*(manifest[k] for k in ("source", "phantom", "config")), manifest.get("ids", ids))
    if found != asked:
        raise DataError(
            f"{out} holds a data set prepared otherwise: {found[0]}, {found[2]}, ids {found[3]}; "
            f"asked for {asked[0]}, {asked[2]}, ids {asked[3]}",
            hint="give another folder, or delete this one",
        )
    return manifest


def _prepare(
    raws: Sequence[RawVolume],
    out: Path,
    config: PrepareConfig,
    jobs: int,
    privacy: Privacy,
    *,
    resumed: bool,
) -> tuple[list[Record], list[Bad]]:
    """Records and bad volumes, both in the order of ``raws``.

    What is bad in a complete data set has been accepted and is not tried again; an unfinished run tries it again.
    """
    remove_half_written(out)
    target = Target(config.short_side, config.resolution == "half")
    accepted = {} if resumed else read_quarantine(out)
    done: dict[int, Record | Bad] = {}
    work: dict[int, tuple[RawVolume, str]] = {}
    sizes: dict[str, int] = {}
    for i, raw in enumerate(raws):
        try:
            key, sizes[raw.volume.id] = made_from(raw, config.settings())
        except MachineError:
            raise
        except DataError as exc:
            done[i] = _bad(raw, exc, privacy, "")
            continue
        earlier = _checked(out, raw, read_record(out, raw, key)) or accepted.get(raw.volume.id)
        if earlier is not None and earlier.key == key:
            done[i] = earlier
        else:
            work[i] = (raw, key)
    if work:
        left = [raw for raw, _ in work.values()]
        check_space(out, left, sizes, target)
        (out / MANIFEST).unlink(missing_ok=True)
        one = partial(_one, out, target, config.tissue, privacy)
        total = sum(sizes[raw.volume.id] for raw in left)
        with (
            progress("prepare", len(work), "volumes", total) as ticker,
            closing(each(one, work, min(jobs, len(work)))) as results,
        ):
            for i, made in results:
                done[i] = made
                if isinstance(made, Bad):
                    write_quarantine(out, _ordered(done, Bad))
                ticker.advance(1, raws[i].volume.id, sizes[raws[i].volume.id])
    return _ordered(done, Record), _ordered(done, Bad)


def _checked(out: Path, raw: RawVolume, record: Record | None) -> Record | None:
    """A finished volume whose file passes today's checks; None where it does not, or cannot be checked alone.

    What an earlier version has prepared is not decoded again for that.
    """
    if record is None or record.checked >= CHECKS:
        return record
    if raw.reader is not None:
        return None
    try:
        header = checked_header(raw)
    except MachineError:
        raise
    except DataError:
        return None
    if header.padding is not None or header.pixels.over:
        return None  # was not looked at
    pixel = pixel_width(header, record.stored.volume.columns)
    fields = {"checked": CHECKS, "pixel": pixel, "spacing": header.spacing, "notes": header.notes}
    record = record.model_copy(update=fields)
    write_record(out, record)
    return record


def _ordered(done: dict[int, Record | Bad], kind: type[T]) -> list[T]:
    return [found for _, found in sorted(done.items()) if isinstance(found, kind)]


def _one(
    out: Path,
    target: Target,
    rule: TissueRule,
    privacy: Privacy,
    item: tuple[RawVolume, str],
    stop: Callable[[], bool],
) -> Record | Bad:
    """Prepare one volume; its record is written last."""
    raw, key = item
    with disk(out):
        remove_volume(out, raw)  # of another input or setting
        try:
            made = prepare_volume(raw, out, target, rule, stop)
        except MachineError as exc:  # no fault of the volume, and the next one would fail as well
            remove_volume(out, raw)
            raise MachineError(
                privacy.shown(exc.message, raw), hint=f"{exc.hint}; what is finished is kept"
            ) from None
        except MemoryError as exc:
            remove_volume(out, raw)
            raise system_error(exc, f"volume {raw.volume.id}") or exc from None
        except DataError as exc:
            remove_volume(out, raw)
            # rights and disks are put right without a change of the file, and so it is tried again
            system = isinstance(exc.__cause__, OSError) and exc.__cause__.errno is not None
            return _bad(raw, exc, privacy, "" if system else key)
        record = Record(key=key, **made._asdict(), checked=CHECKS)
        write_record(out, record)
    return record


def _bad(raw: RawVolume, exc: DataError, privacy: Privacy, key: str) -> Bad:
    return Bad(raw.volume.id, privacy.words(exc.message, raw), privacy.words(exc.hint, raw), key)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise DataError(f"{out} is not a folder", hint="give another folder") from None
    lock = FileLock(out / LOCK, timeout=0)
    try:
        with lock:
            yield
    except Timeout:
        raise DataError(
            f"another process prepares {out}", hint="wait for it, or give another folder"
        ) from None
