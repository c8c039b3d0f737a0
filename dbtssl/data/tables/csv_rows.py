"""CSV tables as people have them: where they lie, and their rows, read strictly, each with its place for messages.

Every table that somebody else wrote is read here. A row has as many cells as the header, a cell ends on its line, a
column is there once, and an id holds nothing that cannot be seen: a file that breaks one of these is refused with its
line, since any guess would be another number. Line ends may be CRLF, LF or CR; a byte order mark, an unnamed first
column of row numbers, empty lines, and spaces or tabs around a cell change nothing.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dbtssl.data.tables.identifiers import unseen
from dbtssl.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

COLLECTION = "Breast-Cancer-Screening-DBT"
DEPTH = 2  # folders below the root that are searched for tables
IDS = ("volume", "patient", "study", "patientid", "studyuid")  # columns of ids, in lower case
BLANK = " \t"  # what may stand around a cell

FIELDS = "write decimals with a point, and put a text that holds a comma into quotation marks"
QUOTES = "a cell ends on its line; write a quotation mark within a text twice, or remove it"

_LINE_END = re.compile(r"\r\n|\n|\r")
_QUOTED = re.compile(r'"([^"]*(?:""[^"]*)*)"[ \t]*')
_ROW_NUMBER = re.compile(r"(?:-?\d+(?:\.0*)?)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


class CsvRow(NamedTuple):
    """The values of a row by column, and its file and line."""

    values: dict[str, str]
    where: str


def csv_files(root: Path, depth: int = DEPTH) -> Iterator[Path]:
    """CSV files at most ``depth`` folders below ``root``, sorted.

    Links are followed. The images' own folder is not walked, and hidden names are passed over: macOS leaves a
    ``._NAME.csv`` beside each NAME.csv on disks that it did not format.
    """
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(f for f in folders if f != COLLECTION and not f.startswith("."))
        if len(Path(folder).relative_to(root).parts) == depth:
            folders.clear()
        yield from (Path(folder) / name for name in sorted(files) if _is_table(name))


def _is_table(name: str) -> bool:
    return name.lower().endswith(".csv") and not name.startswith(".")


def words_of(path: Path) -> set[str]:
    """The words in a file's name, in lower case, without its ending."""
    return set(re.split(r"[^a-z0-9]+", path.stem.lower()))


def alike(one: Path, other: Path) -> bool:
    """Whether two tables say the same, whatever their line ends."""
    return one.read_bytes().split() == other.read_bytes().split()


def csv_rows(
    path: Path,
    needed: Sequence[str],
    *,
    what: str,
    hint: str,
    named: Callable[[str], str] = str,
) -> Iterator[CsvRow]:
    """The rows of the table ``path`` that has the columns ``needed``; ``named`` is done to the names of its columns.

    Cells come without the spaces and tabs around them, those of columns without a name are left out. Raises `DataError`
    for a file that cannot be read as ``what``, for missing columns and a column that is there twice, and with file and
    line for a row of more or fewer cells than the header, a quotation mark that does not close on its line, the header
    once more, and an id (column of `IDS`) with a character that cannot be seen.
    """
    lines = text_lines(path, what, hint)
    head, names = _head(path, lines, named)
    if missing := [name for name in needed if name not in names]:
        found = [name for name in names if name]
        raise DataError(
            f"{path}: missing columns {', '.join(missing)}; found {', '.join(found) or 'none'}",
            hint=_other_separator(names) or hint,
        )
    for number, line in lines:
        where = f"{path}, line {number}"
        cells = _cells(line, where, names)
        if cells == head:
            raise DataError(
                f"{where}: the header stands here once more",
                hint="remove the line; if two tables were joined, see that no row is there twice",
            )
        _check_cells(cells, names, where)
        yield CsvRow({name: cell for name, cell in zip(names, cells, strict=True) if name}, where)


def csv_header(path: Path, *, what: str, hint: str) -> list[str]:
    """The names of the columns, none of an empty file. Raises `DataError` as `csv_rows` does."""
    return _head(path, text_lines(path, what, hint), str)[1]


def finite(text: str) -> float | None:
    """The finite number that ``text`` writes in decimal digits; None where it is none: ``1,5``, ``1_000``, ``nan``."""
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def text_lines(path: Path, what: str, hint: str) -> Iterator[tuple[int, str]]:
    """The lines of a text file that are not empty, with their numbers from 1; `DataError` as for `csv_rows`."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"no such file: {path}", hint="check the path") from None
    except OSError as exc:
        raise DataError(
            f"{path} cannot be read as a {what}: {exc.strerror or exc}", hint=hint
        ) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        at = content[: exc.start].count(b"\n") + 1
        raise DataError(
            f"{path} cannot be read as a {what}: line {at} is not UTF-8 text",
            hint=f"save it as CSV in UTF-8; {hint}",
        ) from None
    return ((n, line) for n, line in enumerate(_LINE_END.split(text), 1) if line.strip(BLANK))


def _head(
    path: Path, lines: Iterator[tuple[int, str]], named: Callable[[str], str]
) -> tuple[list[str], list[str]]:
    """The cells of the header, and the names of the columns."""
    number, line = next(lines, (1, ""))
    where = f"{path}, line {number}"
    head = _cells(line, where, ())
    seen: dict[str, int] = {}
    for i, cell in enumerate(head, 1):
        if strange := unseen(cell.replace("\t", " ")):
            raise DataError(
                f"{where}: the name of column {i} holds {strange}", hint="write the name again"
            )
        other = seen.setdefault(cell.casefold(), i)
        if cell and other != i:
            raise DataError(
                f"{where}: column {cell} is there twice, as column {other} and column {i}",
                hint="keep the one that is meant, or give the other another name",
            )
    return head, [named(cell) for cell in head]


def _cells(line: str, where: str, names: Sequence[str]) -> list[str]:
    """The cells of one line."""
    if '"' not in line:
        return [cell.strip(BLANK) for cell in line.split(",")]
    cells: list[str] = []
    at = 0
    while True:
        while line[at : at + 1] and line[at] in BLANK:
            at += 1
        if line.startswith('"', at):
            found = _QUOTED.match(line, at)
            end = found.end() if found else -1
            if found is None or line[end : end + 1] not in ("", ","):
                column = (names[len(cells)] if len(cells) < len(names) else "") or len(cells) + 1
                wrong = (
                    "there is text behind the quotation mark that ends the cell"
                    if found
                    else "a quotation mark begins the cell, and none ends it on this line"
                )
                raise DataError(f"{where}, column {column}: {wrong}", hint=QUOTES)
            cells.append(found[1].replace('""', '"').strip(BLANK))
        else:
            end = line.find(",", at)
            end = len(line) if end < 0 else end
            cells.append(line[at:end].strip(BLANK))
        if end >= len(line):
            return cells
        at = end + 1


def _check_cells(cells: Sequence[str], names: Sequence[str], where: str) -> None:
    if len(cells) > len(names):
        raise DataError(
            f"{where}: {len(cells)} cells, the header has {len(names)}; "
            f"beyond its last column, {names[-1] or len(names)}, there is {cells[len(names)]!r}",
            hint=FIELDS,
        )
    if len(cells) < len(names):
        lacking = ", ".join(name or "(without a name)" for name in names[len(cells) :])
        raise DataError(
            f"{where}: {len(cells)} cells, the header has {len(names)}; there is none for {lacking}",
            hint="write a comma for every column, also where its cell is empty",
        )
    for i, (name, cell) in enumerate(zip(names, cells, strict=True)):
        if not name and cell and (i or not _ROW_NUMBER.fullmatch(cell)):
            raise DataError(
                f"{where}: column {i + 1} has no name and holds {cell!r}",
                hint=f"give the column a name; {FIELDS}",
            )
        if name.casefold() in IDS and (strange := unseen(cell)):
            raise DataError(
                f"{where}, column {name}: the id holds {strange}",
                hint="write the id again; only letters, digits and signs that can be seen make it known",
            )


def _other_separator(names: Sequence[str]) -> str:
    """A hint for a header that is not separated by commas; nothing where it is."""
    for sign, word in ((";", "semicolons"), ("\t", "tabs")):
        if any(sign in name for name in names):
            return f"the file separates cells by {word}: save it with commas, and decimals with a point"
    return ""
