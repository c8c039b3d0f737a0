"""Where the listed volumes of BCS-DBT lie, whatever tool fetched them.

| layout                 | path of a volume                                                               |
|------------------------|--------------------------------------------------------------------------------|
| classic                | PatientID/StudyInstanceUID/SeriesInstanceUID/1-1.dcm, NBIA Data Retriever      |
| descriptive            | PatientID/date-StudyID-description-tail/number-NA-tail/1-1.dcm, the same tool  |
| descriptive without NA | the same without `NA-`, as the published column has it                         |
| rest                   | SeriesInstanceUID/1-1.dcm or 000000.dcm, NBIA REST and tcia_utils              |
| idc-index              | PatientID/StudyInstanceUID/MG_SeriesInstanceUID/uuid.dcm                       |
| flat                   | SeriesInstanceUID.dcm                                                          |
| header                 | any other name: the file itself says what it is                                |

A file finds its volume by SeriesInstanceUID, the last folder of the published `classic_path`; else by the last five
digits of that UID within its patient's folder; else by its header: SeriesInstanceUID, or patient, study and CC or MLO
where the study lists a single such view. SeriesNumber is not unique and is not used. A header that is read may not
contradict the table (`dbtssl.data.dicom.identity`); those of files that are found by name are read on request.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar, get_args

from dbtssl.data.dicom.dicom_files import dicom_files, read_ids
from dbtssl.data.dicom.identity import NEXT, UID, contradictions
from dbtssl.data.tables.published_tables import find_tables, read_files, table_files
from dbtssl.errors import DataError
from dbtssl.interfaces import Expected

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence
    from pathlib import Path

    from dbtssl.data.dicom.dicom_files import DicomFile
    from dbtssl.data.tables.published_tables import Key

T = TypeVar("T")
V = TypeVar("V")
State = Literal["found", "missing", "ambiguous", "contradicted"]
STATES: tuple[State, ...] = get_args(State)

LAYOUTS = (
    "classic",
    "descriptive",
    "descriptive without NA",
    "rest",
    "idc-index",
    "flat",
    "header",
)
IDC = "MG_"  # idc-index's prefix of a series folder
_TAIL = re.compile(r"-(\d{5})")
KEEP = "keep one file of each"
TABLE = (
    "put the published table of file paths beside the images: its column classic_path ends in "
    "StudyInstanceUID/SeriesInstanceUID/1-1.dcm, and these find a file"
)


@dataclass(frozen=True)
class Place:
    """Where a listed volume lies: one file if found, several if ambiguous, those with a wrong header if contradicted.

    ``note`` says why, or what else was seen, and ``hint`` what to do.
    """

    state: State
    files: tuple[Path, ...] = ()
    layout: str = ""
    note: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Located:
    """Every listed volume's place, the files that are no listed volume, and folders that could not be read."""

    places: Mapping[Key, Place]
    extra: tuple[Path, ...]
    problems: tuple[str, ...]

    def keys(self, state: State) -> list[Key]:
        """The volumes of that ``state``, sorted."""
        return sorted(key for key, place in self.places.items() if place.state == state)


class _Claim(NamedTuple):
    """A file that says to be a volume; not ``sure`` where others are as likely, not at all if it is ``wrong``."""

    file: DicomFile
    layout: str
    sure: bool = True
    wrong: str = ""  # what its header contradicts


def listed_paths(roots: Sequence[Path]) -> dict[Key, str]:
    """Every volume that a table of labels or of file paths below ``roots`` lists, and its classic path if known.

    Raises `DataError` where there is neither table, and whatever `read_files` refuses.
    """
    files = table_files(*roots)
    here = {
        kind: [path for (k, _), path in files.items() if k == kind]
        for kind in ("labels", "file-paths")
    }
    if not any(here.values()):
        find_tables(*roots)  # refuses and says what is missing
    tables = read_files({**here, "boxes": []})
    return dict.fromkeys(tables.labels, "") | dict(tables.paths)


def expectations(listed: Mapping[Key, str]) -> dict[Key, Expected]:
    """What the header of each volume's file may not contradict; UIDs from its classic path."""
    out = {}
    for key, path in listed.items():
        *_, study, series, _name = ("", "", "", *_parts(path))
        out[key] = Expected(*key, series_uid=series, study_uid=study, public=True)
    return out


def locate(listed: Mapping[Key, str], roots: Sequence[Path], *, headers: bool = False) -> Located:
    """Find the volumes of ``listed``, key to classic path (or empty), below ``roots``.

    Headers are read only for files that names do not explain, and only while volumes are missing; with ``headers`` also
    those of the files that are found. Of several files of equal size the first is taken; of different size none, for
    one of them may be cut off.
    """
    files, problems = dicom_files(roots)
    known = _Listed(listed)
    claims: dict[Key, list[_Claim]] = defaultdict(list)
    left: list[DicomFile] = []
    for file in files:
        keys, layout = known.by_name(file.path)
        for key in keys:
            wrong = _wrong(file.path, known.expected[key], problems) if headers else ""
            claims[key].append(_Claim(file, layout, wrong=wrong))
        if not keys:
            left.append(file)
    extra: list[Path] = []
    missing = {key for key in listed if not any(c.file.size for c in claims.get(key, []))}
    for file in left:
        claimed = known.by_header(file, missing, problems) if missing else {}
        for key, claim in claimed.items():
            claims[key].append(claim)
        if not any(claim.sure or not claim.wrong for claim in claimed.values()):
            extra.append(file.path)
    owners: dict[Path, int] = defaultdict(int)
    for claim in (claim for of_key in claims.values() for claim in of_key if claim.sure):
        owners[claim.file.path] += 1
    places = {key: _place(claims.get(key, []), owners, listed[key]) for key in listed}
    return Located(places, tuple(extra), tuple(problems))


def _wrong(path: Path, expected: Expected, problems: list[str]) -> str:
    """What the header at ``path`` contradicts, in one line."""
    try:
        ids = read_ids(path)
    except DataError as exc:
        problems.append(exc.message)
        return ""
    return "; ".join(contradictions(ids, expected)) if ids else ""


def _place(claims: Sequence[_Claim], owners: Mapping[Path, int], classic: str) -> Place:
    """Decide on the files that say to be one volume."""
    wrong = [claim for claim in claims if claim.wrong]
    sure = [claim for claim in claims if claim.sure and not claim.wrong]
    whole = [claim for claim in sure if claim.file.size]
    paths = tuple(claim.file.path for claim in whole)
    named = [claim for claim in wrong if claim.sure]
    if named and not whole:
        files = tuple(claim.file.path for claim in named)
        return Place("contradicted", files, named[0].layout, named[0].wrong, NEXT)
    if not whole:
        if sure:
            return Place("missing", note=f"empty file {sure[0].file.path}")
        others = tuple(claim.file.path for claim in claims if not claim.wrong)
        if others:
            return Place("ambiguous", others, note=_unsure(classic), hint=TABLE)
        if wrong:
            path = wrong[0].file.path
            return Place("missing", note=f"{path} is not it: {wrong[0].wrong}")
        return Place("missing")
    if any(owners[path] > 1 for path in paths):
        note = "the file fits another listed volume as well: the table gives both the same series"
        return Place("ambiguous", paths, note=note, hint=TABLE)
    if len({claim.file.size for claim in whole}) > 1:
        sizes = ", ".join(f"{claim.file.size:,}" for claim in whole)
        return Place("ambiguous", paths, note=f"files of {sizes} bytes", hint=KEEP)
    note = f"{len(paths)} copies of equal size" if len(paths) > 1 else ""
    return Place("found", paths[:1], whole[0].layout, note)


def _unsure(classic: str) -> str:
    """Why a file that only its header tells may be one of several volumes."""
    parts = _parts(classic)
    if len(parts) > 1 and UID.fullmatch(parts[-2]):
        why = "neither its path nor its header has the series of the table"
    elif classic:
        why = f"classic_path {classic!r} names no series"
    else:
        why = "the table has no path for it"
    return f"the file fits another listed volume as well: {why}, and the header does not tell left from right"


class _Listed:
    """The listed volumes by what a path or a header may say."""

    def __init__(self, listed: Mapping[Key, str]) -> None:
        self.expected = expectations(listed)
        self._folders = {key: _parts(path) for key, path in listed.items()}
        self._patients = {key.patient for key in listed}

    def by_name(self, path: Path) -> tuple[list[Key], str]:
        """The volumes that the names in ``path`` tell, nearly always one or none, and the layout."""
        folder, patient = path.parent.name, self._patient(path)
        stem = path.name[:-4] if path.name.lower().endswith(".dcm") else path.name
        in_folder = self._with_uid(folder.removeprefix(IDC), path, patient)
        if in_folder:
            plain = "classic" if patient else "rest"
            return in_folder, "idc-index" if folder.startswith(IDC) else plain
        named = self._with_uid(stem.removeprefix(IDC), path, patient)
        if named:
            return named, "flat"
        tail = _TAIL.search(folder[-6:])
        if tail and patient:
            study = path.parent.parent.name
            told = [name for name in self._studies[patient] if name in study]
            tailed = self._by_tail.get((patient, tail[1]), [])
            fitting = [key for key in tailed if not told or key.study in told]
            if len(fitting) == 1:
                return fitting, "descriptive" if "-NA-" in folder else "descriptive without NA"
        return [], ""

    def by_header(
        self, file: DicomFile, missing: Container[Key], problems: list[str]
    ) -> dict[Key, _Claim]:
        """The volumes that the header of ``file`` tells; by its view only ``missing`` ones, and unsure if several."""
        try:
            ids = read_ids(file.path)
        except DataError as exc:
            problems.append(exc.message)
            return {}
        if ids is None:
            return {}
        keys = self._by_uid.get(ids.series, [])
        by_uid = bool(keys)
        if not by_uid:
            keys = self._by_view.get((ids.patient, ids.study, ids.projection), [])
        out = {}
        for key in keys:
            if by_uid or key in missing:
                wrong = "; ".join(contradictions(ids, self.expected[key]))
                sure = by_uid or (len(keys) == 1 and not wrong)
                out[key] = _Claim(file, "header", sure, wrong)
        return out

    def _with_uid(self, uid: str, path: Path, patient: str) -> list[Key]:
        """Listed volumes of that UID, less those whose patient another folder of ``path`` contradicts."""
        keys = [k for k in self._by_uid.get(uid, []) if patient in ("", k.patient)]
        if len(keys) > 1:
            keys = [
                k for k in keys if self._folders[k][-3:-2] == (path.parent.parent.name,)
            ] or keys
        return keys

    def _patient(self, path: Path) -> str:
        """The listed patient that a folder of ``path`` is named by, or nothing."""
        return next((part for part in reversed(path.parts[:-1]) if part in self._patients), "")

    @cached_property
    def _by_uid(self) -> dict[str, list[Key]]:
        return _grouped((parts[-2], key) for key, parts in self._folders.items() if len(parts) > 1)

    @cached_property
    def _by_tail(self) -> dict[tuple[str, str], list[Key]]:
        return _grouped(
            ((key.patient, parts[-2][-5:]), key)
            for key, parts in self._folders.items()
            if len(parts) > 1
        )

    @cached_property
    def _studies(self) -> dict[str, set[str]]:
        return {p: set(s) for p, s in _grouped((k.patient, k.study) for k in self._folders).items()}

    @cached_property
    def _by_view(self) -> dict[tuple[str, str, str], list[Key]]:
        return _grouped(
            ((key.patient, key.study, key.view[1:].rstrip("0123456789")), key)
            for key in self._folders
        )


def _parts(path: str) -> tuple[str, ...]:
    """The folders and the name of a classic path, also of one that was written with backslashes."""
    return PurePosixPath(path.strip().replace("\\", "/")).parts


def _grouped(pairs: Iterable[tuple[T, V]]) -> dict[T, list[V]]:
    out: dict[T, list[V]] = defaultdict(list)
    for name, value in pairs:
        out[name].append(value)
    return dict(out)
