"""What a volume, a box and a cohort are. patient > study > breast > volume (CC or MLO) > slice > patch."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, overload

import numpy as np

from dbtssl.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


VIEW = re.compile(r"^([lr])(cc|mlo)\d*$")  # repeats carry a number: rmlo1, lcc2


class Label(IntEnum):
    """The four classes of BCS-DBT, in order of severity."""

    NORMAL = 0
    ACTIONABLE = 1
    BENIGN = 2
    CANCER = 3

    @property
    def abnormal(self) -> bool:
        """Biopsied, benign or malignant (SIFT-DBT, section 3.1)."""
        return self >= Label.BENIGN


class Rect(NamedTuple):
    """Half-open ranges of rows and columns, in pixels."""

    y0: int
    x0: int
    y1: int
    x1: int

    @classmethod
    def around(cls, mask: NDArray[np.bool_]) -> Rect:
        """The smallest rectangle that holds every true pixel; empty where there is none."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            return cls(0, 0, 0, 0)
        return cls(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


class Window(NamedTuple):
    """Stored values shown as 0 and as 1; values outside are clipped."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Box:
    """A lesion's bounding box on its annotated slice ``z``: top-left corner, width and height in pixels.

    The frame is the oriented one (chest wall on the side that the view's name says), x right, y down.
    """

    z: int
    x: float
    y: float
    width: float
    height: float
    label: Label
    distortion: bool = False


@dataclass(frozen=True, slots=True)
class Volume:
    """One CC or MLO view of one breast: a stack of ``n_slices`` frames of ``(rows, columns)`` pixels."""

    patient: str
    study: str
    view: str
    n_slices: int
    rows: int
    columns: int
    label: Label
    boxes: tuple[Box, ...] = ()
    window: Window = Window(0.0, 1023.0)
    crop: Rect = Rect(0, 0, 0, 0)

    def __post_init__(self) -> None:
        if not VIEW.match(self.view):
            raise DataError(
                f"volume {self.patient}/{self.study}: unknown view {self.view!r}",
                hint="expected l or r, then cc or mlo, then an optional number: lcc, rmlo, lmlo1",
            )

    @property
    def id(self) -> str:
        """The published key (PatientID, StudyUID, View) as one word."""
        return f"{self.patient}_{self.study}_{self.view}"

    @property
    def side(self) -> str:
        """``l`` or ``r``."""
        return self.view[0]

    @property
    def projection(self) -> str:
        """``cc`` or ``mlo``."""
        return "mlo" if self.view[1] == "m" else "cc"


class SliceRef(NamedTuple):
    """Slice ``z`` (from 0) of the volume at position ``volume`` of a cohort."""

    volume: int
    z: int


class Cohort(Sequence[Volume]):
    """The indexed list of volumes. Positions are what samplers and objectives speak of."""

    def __init__(self, volumes: Iterable[Volume]) -> None:
        self._volumes = tuple(volumes)
        ids = [v.id for v in self._volumes]
        if len(set(ids)) != len(ids):
            twice = sorted({i for i in ids if ids.count(i) > 1})
            raise DataError(f"a cohort holds these volumes twice: {', '.join(twice[:5])}")

    @overload
    def __getitem__(self, index: int) -> Volume: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Volume, ...]: ...
    def __getitem__(self, index: int | slice) -> Volume | tuple[Volume, ...]:
        return self._volumes[index]

    def __len__(self) -> int:
        return len(self._volumes)

    def __iter__(self) -> Iterator[Volume]:
        return iter(self._volumes)

    @cached_property
    def patient_ids(self) -> NDArray[np.int64]:
        """Integer id of each volume's patient, shape ``(len(self),)``."""
        return self._codes([(v.patient,) for v in self])

    @cached_property
    def study_ids(self) -> NDArray[np.int64]:
        """Integer id of each volume's (patient, study)."""
        return self._codes([(v.patient, v.study) for v in self])

    @cached_property
    def breast_ids(self) -> NDArray[np.int64]:
        """Integer id of each volume's (patient, study, side)."""
        return self._codes([(v.patient, v.study, v.side) for v in self])

    def other_projection(self, index: int) -> tuple[int, ...]:
        """Volumes of the same breast in the same study taken in the other projection (CC for MLO, MLO for CC)."""
        own = self[index].projection
        return tuple(i for i in self._members("breast", index) if self[i].projection != own)

    def same_study(self, index: int) -> tuple[int, ...]:
        """All volumes of the same study, this one included."""
        return self._members("study", index)

    def same_patient(self, index: int) -> tuple[int, ...]:
        """All volumes of the same patient, this one included."""
        return self._members("patient", index)

    @staticmethod
    def _codes(keys: list[tuple[str, ...]]) -> NDArray[np.int64]:
        first = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        return np.array([first[key] for key in keys], dtype=np.int64)

    @cached_property
    def _groups(self) -> dict[str, dict[int, tuple[int, ...]]]:
        out: dict[str, dict[int, tuple[int, ...]]] = {}
        for name, ids in (
            ("patient", self.patient_ids),
            ("study", self.study_ids),
            ("breast", self.breast_ids),
        ):
            members: dict[int, list[int]] = defaultdict(list)
            for i, code in enumerate(ids):
                members[int(code)].append(i)
            out[name] = {code: tuple(m) for code, m in members.items()}
        return out

    def _members(self, level: str, index: int) -> tuple[int, ...]:
        ids = {"patient": self.patient_ids, "study": self.study_ids, "breast": self.breast_ids}[
            level
        ]
        return self._groups[level][int(ids[index])]


REACH = 4  # slices on either side of an annotated one; the released SIFT-DBT code takes 4 and 3


def abnormal_slices(volume: Volume, before: int = REACH, after: int = REACH) -> NDArray[np.bool_]:
    """Which slices of ``volume`` are abnormal, shape ``(n_slices,)``.

    The union over its boxes of the slices from ``z - before`` to ``z + after``, both included, cut at the ends of the
    volume. The released SIFT-DBT code has ``before=4, after=3``, eight slices a box, and so has the protocol
    ``as-published``; the symmetric window is the default.
    """
    out = np.zeros(volume.n_slices, dtype=np.bool_)
    for box in volume.boxes:
        out[max(0, box.z - before) : max(0, box.z + after + 1)] = True
    return out


def neighbours(slice_: SliceRef, reach: int, cohort: Cohort, *, half_open: bool = False) -> range:
    """Slices of the same volume within ``reach`` of ``slice_``, itself included.

    ``reach`` is in slices, not millimetres: BCS-DBT headers carry no spacing. The range is cut at the ends of the
    volume (SIFT-DBT, section 2.2). ``half_open`` leaves out ``z + reach``, as SIFT-DBT's released code does
    (`BCS_DBT_cls_dataset.py:281`).
    """
    n = cohort[slice_.volume].n_slices
    above = slice_.z + reach if half_open else slice_.z + reach + 1
    return range(max(0, slice_.z - reach), max(slice_.z + 1, min(n, above)))
