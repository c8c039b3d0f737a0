"""Plain folders of slices with one table: a second kind of data, and the example of a source.

The table is a CSV file with a row for each slice, and a further row for each further box on it:

| column                        | what it holds                                                                   |
|-------------------------------|---------------------------------------------------------------------------------|
| `file`                        | PNG, JPEG, TIFF or one-frame DICOM file, relative to the root                   |
| `patient`, `study`            | ids: letters, digits, `.`, `-`, `_`                                             |
| `side`                        | l or r (left, right)                                                            |
| `projection`                  | cc or mlo; a repeated view carries a number: cc2                                |
| `slice`                       | its number in the volume, a whole number; consecutive, from any start           |
| `label`                       | normal, actionable, benign or cancer; the volume's, so the same in all its rows |
| `x`, `y`, `width`, `height`   | optional: a box in pixels of the file as it lies, from its top left corner      |
| `box_label`                   | optional: benign or cancer; the volume's label where it is empty                |

Benign and cancer volumes have a box, others have none. Nothing is turned: the boxes are in the frame of the files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

from dbtssl import config
from dbtssl.data.records import Box, Label, Volume, Window
from dbtssl.data.sources.slice_files import SUFFIXES, SliceStack
from dbtssl.data.tables.csv_rows import csv_files, csv_rows, finite
from dbtssl.data.tables.identifiers import refuse_two_studies
from dbtssl.data.tables.published_tables import Key
from dbtssl.errors import ConfigError, DataError
from dbtssl.interfaces import Expected, RawVolume

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

REQUIRED = ("file", "patient", "study", "side", "projection", "slice", "label")
BOX = ("x", "y", "width", "height")
COLUMNS = f"expected the columns {', '.join(REQUIRED)}, and for boxes {', '.join(BOX)}"
SIDES = {"l": "l", "left": "l", "r": "r", "right": "r"}
SHOWN = 3  # files that a message names

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # ids become file names
_PROJECTION = re.compile(r"(cc|mlo)\d{0,2}")


class _Row(NamedTuple):
    where: str
    key: Key
    file: Path
    number: int
    label: Label
    box: tuple[float, float, float, float, Label] | None


@dataclass
class _Stack:
    """A volume in the making: its slices by number, its boxes, and where it was begun."""

    label: Label
    where: str
    files: dict[int, Path]
    boxes: list[tuple[int, tuple[float, float, float, float, Label]]]


class SliceFolder:
    """Slices in files, described by one CSV file."""

    class Config(config.Config):
        """Which table, which grey values, and whether slices may be missing."""

        table: str = Field(
            default="",
            description="the CSV file, relative to the root; the only one in it if empty",
        )
        window: tuple[float, float] | None = Field(
            default=None,
            description="values shown as black and white; none: as 8-bit images and DICOM files tell",
        )
        gaps: bool = Field(
            default=False,
            description="take volumes whose slice numbers have gaps; neighbours are then further apart",
        )

    def __init__(self, config: Config | None = None) -> None:
        self._config = config or self.Config()
        window = self._config.window
        if window is not None and not window[0] < window[1]:
            raise ConfigError(
                f"window: got {window[0]:g}, {window[1]:g}, expected black below white",
                hint="for example window=[0, 1023]",
            )
        self._window = Window(*window) if window else None

    def volumes(self, root: Path) -> Sequence[RawVolume]:
        """List the volumes of the table, sorted by patient, study and view; no image is opened.

        Raises `DataError` for a missing folder, table, column or file, a value that cannot be read, rows of a volume
        that disagree, a file that is listed for two slices, gaps, and an abnormal volume without a box or the reverse.
        """
        stacks: dict[Key, _Stack] = {}
        lines: dict[Any, str] = {}
        owners: dict[Path, tuple[Key, int]] = {}
        for row in _rows(self._find(root), root):
            _add(stacks, row)
            earlier = lines.setdefault((row.key, row.number, row.box and row.box[:4]), row.where)
            if earlier != row.where:
                raise DataError(
                    f"{row.where}: the slice and box of {earlier} once more",
                    hint="keep one of the two rows: a slice has a row, and one more for each further box",
                )
            if owners.setdefault(row.file, (row.key, row.number)) != (row.key, row.number):
                raise DataError(
                    f"{row.where}: {row.file.name} is the file of another slice as well",
                    hint="a slice belongs to one volume",
                )
        refuse_two_studies((key[:2] for key in stacks), str(self._find(root)))
        missing = sorted(str(file) for file in owners if not file.is_file())
        if missing:
            more = ", ..." if len(missing) > SHOWN else ""
            raise DataError(
                f"{len(missing)} of {len(owners)} listed slices have no file: "
                f"{', '.join(missing[:SHOWN])}{more}",
                hint="the column file is relative to the root",
            )
        return [self._volume(key, stacks[key]) for key in sorted(stacks)]

    def _find(self, root: Path) -> Path:
        if not root.is_dir():
            raise DataError(f"no such folder: {root}", hint="check the path")
        tables = (
            [root / self._config.table] if self._config.table else list(csv_files(root, depth=0))
        )
        if len(tables) != 1 or not tables[0].is_file():
            found = ", ".join(path.name for path in tables if path.is_file()) or "none"
            raise DataError(
                f"{root}: expected one table {self._config.table or '*.csv'}, found {found}",
                hint=f"name it with the option table; {COLUMNS}",
            )
        return tables[0]

    def _volume(self, key: Key, stack: _Stack) -> RawVolume:
        numbers = sorted(stack.files)
        if numbers[-1] - numbers[0] >= len(numbers) and not self._config.gaps:
            gap = next(n + 1 for n in numbers if n + 1 not in stack.files)
            raise DataError(
                f"{stack.where}: volume {'/'.join(key)} has slices {numbers[0]} to {numbers[-1]}, but no slice {gap}",
                hint="add the slice, or take the volume as it is with the option gaps=true",
            )
        if stack.label.abnormal != bool(stack.boxes):
            has = "a box" if stack.boxes else "no box"
            raise DataError(
                f"{stack.where}: volume {'/'.join(key)} is labelled {stack.label.name.lower()} and has {has}",
                hint="benign and cancer volumes have a box on the slice that shows the lesion, others have none",
            )
        files = tuple(stack.files[n] for n in numbers)
        position = {number: z for z, number in enumerate(numbers)}
        boxes = tuple(Box(position[number], *box) for number, box in stack.boxes)
        volume = Volume(
            *key, n_slices=len(files), rows=0, columns=0, label=stack.label, boxes=boxes
        )
        expected = Expected(*key)
        reader = SliceStack(files, self._window, expected)
        return RawVolume(volume, files[0], reader, oriented=True, expected=expected)


def _add(stacks: dict[Key, _Stack], row: _Row) -> None:
    """Put one row to its volume; refuse it where it disagrees with an earlier one."""
    stack = stacks.setdefault(row.key, _Stack(row.label, row.where, {}, []))
    if stack.label != row.label:
        raise DataError(
            f"{row.where}: label {row.label.name.lower()}, an earlier row of volume {'/'.join(row.key)} says "
            f"{stack.label.name.lower()}",
            hint="the label is the volume's; a slice is abnormal by its box",
        )
    if stack.files.setdefault(row.number, row.file) != row.file:
        raise DataError(
            f"{row.where}: slice {row.number} of volume {'/'.join(row.key)} has two files",
            hint="a repeated view is a volume of its own: projection cc2",
        )
    if row.box is not None:
        stack.boxes.append((row.number, row.box))


def _rows(table: Path, root: Path) -> Iterator[_Row]:
    for values, where in csv_rows(table, REQUIRED, what="table", hint=COLUMNS, named=str.lower):
        yield _row(values, where, root)


def _row(values: Mapping[str, str], where: str, root: Path) -> _Row:
    def refuse(column: str, expected: str) -> DataError:
        return DataError(f"{where}: {column} {values[column]!r}, expected {expected}", hint=COLUMNS)

    for column in ("patient", "study"):
        if not _WORD.fullmatch(values[column]):
            raise refuse(column, "letters, digits, '.', '-' and '_'")
    side, projection = SIDES.get(values["side"].lower()), values["projection"].lower()
    if side is None:
        raise refuse("side", "l or r")
    if not _PROJECTION.fullmatch(projection):
        raise refuse("projection", "cc or mlo")
    if not values["slice"].isdecimal() or len(values["slice"]) > 6:
        raise refuse("slice", "a whole number of at least 0")
    label = values["label"].upper()
    if label not in Label.__members__:
        raise refuse("label", "normal, actionable, benign or cancer")
    file = Path(values["file"])
    if file.is_absolute() or ".." in file.parts or file.suffix.lower() not in SUFFIXES:
        raise refuse("file", f"a file below the root that ends in {', '.join(SUFFIXES)}")
    key = Key(values["patient"], values["study"], side + projection)
    box = _box(values, where, Label[label])
    return _Row(where, key, root / file, int(values["slice"]), Label[label], box)


def _box(
    values: Mapping[str, str], where: str, label: Label
) -> tuple[float, float, float, float, Label] | None:
    texts = [values.get(name, "") for name in BOX]
    if not any(texts):
        return None
    x, y, width, height = (-1.0 if (n := finite(text)) is None else n for text in texts)
    if not (0 <= x < 1e6 and 0 <= y < 1e6 and 0 < width < 1e6 and 0 < height < 1e6):
        shown = ", ".join(f"{name} {text!r}" for name, text in zip(BOX, texts, strict=True))
        raise DataError(
            f"{where}: a box of {shown}; expected four numbers, width and height above 0",
            hint="leave all four empty where there is no box",
        )
    own = values.get("box_label", "").upper() or label.name
    if own not in ("BENIGN", "CANCER"):
        raise DataError(
            f"{where}: a {own.lower()} box, expected benign or cancer",
            hint="only benign and cancer volumes have boxes",
        )
    return x, y, width, height, Label[own]
