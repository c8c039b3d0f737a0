"""What of a volume may give its label away without the breast being looked at, and in which direction."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from dbtssl.data.records import Label

# descriptive_path: COLLECTION/PID/01-01-2000-DBT-S00163-MAMMO DIAGNOSTIC DIGITAL BILATERAL-56865/series/1-1.dcm
_FOLDER = re.compile(r"^\d{2}-\d{2}-\d{4}-(.*)-(?:NA-)?\d{5}$")


@dataclass(frozen=True, slots=True)
class Seen:
    """A volume as tables, headers and file systems know it; None where they were not asked or do not tell.

    ``background`` is the mean stored value outside the tissue mask of the middle frame, ``file_size`` is in bytes.
    """

    patient: str
    study: str
    view: str
    label: Label
    n_slices: int | None = None
    rows: int | None = None
    columns: int | None = None
    description: str | None = None
    file_size: int | None = None
    background: float | None = None


Values = Sequence[float | str | None]


@dataclass(frozen=True)
class Feature:
    """Something that could be a shortcut.

    ``direction`` is 1 where more is expected to mean abnormal, -1 where less is, and 0 where nothing says which; None
    marks a category, which has no order of its own. ``meaning`` says what a model could make of it, ``missing`` what is
    needed to compute it, and ``ends`` what a small and a large value are called.
    """

    name: str
    direction: Literal[-1, 0, 1] | None
    values: Callable[[Sequence[Seen]], Values]
    meaning: str
    missing: str
    ends: tuple[str, str] = ("less", "more")


def description_of(descriptive_path: str, study: str) -> str | None:
    """The study description within a ``descriptive_path`` of the published tables, as spelled there."""
    parts = PurePosixPath(descriptive_path).parts
    match = _FOLDER.match(parts[2]) if len(parts) > 3 else None
    return match[1].removeprefix(study).removeprefix("-") or None if match else None


def _volumes(seen: Sequence[Seen]) -> Values:
    count = Counter((v.patient, v.study) for v in seen)
    return [float(count[v.patient, v.study]) for v in seen]


def _diagnostic(seen: Sequence[Seen]) -> Values:
    return [
        None if v.description is None else float("diagnostic" in v.description.lower())
        for v in seen
    ]


def _matrix(seen: Sequence[Seen]) -> Values:
    return [f"{v.rows} x {v.columns}" if v.rows and v.columns else None for v in seen]


def _number(name: str) -> Callable[[Sequence[Seen]], Values]:
    def values(seen: Sequence[Seen]) -> Values:
        found = (getattr(v, name) for v in seen)
        return [None if value is None else float(value) for value in found]

    return values


_HEADERS = "the files, or a prepared data set"

FEATURES = (
    Feature(
        "volumes in the study",
        -1,
        _volumes,
        "a model that sees how many views a study has (a mask of missing views, padding of the exam) needs no image",
        "",
        ("fewer", "more"),
    ),
    Feature(
        "frames in the volume",
        1,
        _number("n_slices"),
        "frames count the breast's thickness: a score that grows with their number (a maximum, a sum) gains by it",
        "--slice-counts, the files, or a prepared data set",
    ),
    Feature(
        "matrix size",
        None,
        _matrix,
        "rows and columns tell the paddle or the unit: padding or resizing to one size can carry it into the image",
        _HEADERS,
    ),
    Feature(
        "'diagnostic' in the study description",
        1,
        _diagnostic,
        "a diagnostic examination follows a finding: text of the header or of folder names must reach no model",
        "a table of file paths with descriptive_path",
        ("without", "with"),
    ),
    Feature(
        "study description, as spelled",
        None,
        lambda seen: [v.description for v in seen],
        "spellings tell sites, years and kinds of examination: no text of the header must reach a model",
        "a table of file paths with descriptive_path",
    ),
    Feature(
        "file size",
        0,
        _number("file_size"),
        "compressed size follows frames, area and texture: what a thicker or denser breast gives away",
        _HEADERS,
    ),
    Feature(
        "mean of the background",
        0,
        _number("background"),
        "air carries no finding: a difference there comes from the unit, the processing or the paddle",
        "the frames, or a prepared data set",
    ),
    Feature(
        "side",
        0,
        lambda seen: [float(v.view[0] == "r") for v in seen],
        "left and right should be alike: if they are not, turn all breasts to one side",
        "",
        ("left", "right"),
    ),
)
