"""Which rows and columns of a table are shown, and in which order: ``--where``, ``--sort`` and ``--cols``."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from dbtssl.config import did_you_mean
from dbtssl.errors import ConfigError
from dbtssl.report.table_columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbtssl.report.table_columns import Column, Key
    from dbtssl.report.table_model import Table, TableRow

_CONDITION = re.compile(r"^\s*([\w@*.-]+?)\s*(!=|>=|<=|=|>|<)\s*(.*?)\s*$")
_ORDER: dict[str, Callable[[float, float], bool]] = {
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
}
ON_SCREEN = ("slice", "volume")
MANY = 20  # names that a hint lists


def select(table: Table, *, where: str = "", sort: str = "", columns: str = "") -> Table:
    """The table with the rows of ``where`` (conditions joined by &), sorted by ``sort``, showing ``columns``.

    Rows stay in their groups, and single seeds below their mean; marks of best and second stay those of all rows. Those
    of frozen features are left out where none of ``columns`` is theirs.
    `ConfigError` for an unknown name, and for a condition that no row meets.
    """
    rows = _where(table.rows, where) if where.strip() else table.rows
    if sort.strip():
        rows = _sorted(rows, sort)
    chosen = tuple(c.name for c in _columns(columns, "--cols")) if columns.strip() else ()
    if details := [COLUMNS[name] for name in chosen if name != "method"]:
        rows = [
            row for row in rows if not row.frozen or any(column.text(row) for column in details)
        ]
    return replace(table, rows=tuple(rows), columns=chosen or table.columns)


def overview(table: Table) -> Table:
    """The table without subgroups, which are many; CSV, JSON and Parquet have them."""
    return replace(table, rows=tuple(row for row in table.rows if not row.subgroup))


def screen(table: Table) -> Table:
    """What is printed at the end of a run: slices and volumes, and a note on how to see the rest."""
    rows = tuple(r for r in table.rows if r.level in ON_SCREEN and not r.subgroup)
    rest = [r for r in table.rows if r.level not in ON_SCREEN or r.subgroup]
    if not rest:
        return table
    levels = [f"{level} level" for level in dict.fromkeys(r.level for r in rest if not r.subgroup)]
    more = [*levels, *(["subgroups"] if any(r.subgroup for r in rest) else [])]
    note = f"Not shown here: {', '.join(more)}; `dbtssl table` and the files have them."
    return replace(table, rows=rows, notes=(*table.notes, note))


def _where(rows: Sequence[TableRow], text: str) -> Sequence[TableRow]:
    for part in text.split("&"):
        match = _CONDITION.match(part)
        if match is None:
            raise ConfigError(
                f"--where {part.strip()!r}: expected NAME=VALUE, or one of != > < >= <=",
                hint='for example --where "level=volume & auc>80"',
            )
        name, sign, value = match.groups()
        column = _column(name, "--where")
        left = [row for row in rows if _meets(column, row, sign, value)]
        if not left:
            known = sorted({f"{k}" for row in rows if (k := column.key(row)) is not None})
            near = did_you_mean(value, known) if sign == "=" else ""
            raise ConfigError(
                f"--where {part.strip()!r}: no row is left.{near}",
                hint=f"{name} is {', '.join(known[:MANY]) or 'empty in all rows'}",
            )
        rows = left
    return rows


def _meets(column: Column, row: TableRow, sign: str, value: str) -> bool:
    key = column.key(row)
    if sign in ("=", "!="):
        same = f"{key}".lower() == value.lower() if key is not None else value == ""
        if isinstance(key, int | float) and not same:
            same = column.text(row) == value
        return same == (sign == "=")
    try:
        limit = float(value)
    except ValueError:
        raise ConfigError(
            f"--where {column.name}{sign}{value}: {value!r} is not a number",
            hint="compare words with = or !=",
        ) from None
    return isinstance(key, int | float) and _ORDER[sign](float(key), limit)


def _sorted(rows: Sequence[TableRow], text: str) -> list[TableRow]:
    """Methods with their single seeds in order within each group; references stay below, rows without a value last."""
    out = list(rows)
    for word in reversed([w.strip() for w in text.split(",") if w.strip()]):
        column, falling = _column(word.lstrip("+-"), "--sort"), word.startswith("-")
        out = [row for block in _ordered(out, column, falling) for row in block]
    return out


def _ordered(rows: Sequence[TableRow], column: Column, falling: bool) -> list[list[TableRow]]:
    groups: dict[object, list[list[TableRow]]] = {}
    for row in rows:
        blocks = groups.setdefault((row.group, row.kind == "method"), [])
        if row.single and blocks and blocks[-1][0].method == row.method:
            blocks[-1].append(row)
        else:
            blocks.append([row])
    out = []
    for blocks in groups.values():
        known = [b for b in blocks if column.key(b[0]) is not None]
        unknown = [b for b in blocks if column.key(b[0]) is None]
        out += sorted(known, key=lambda b: _sortable(column.key(b[0])), reverse=falling) + unknown
    return out


def _sortable(key: Key) -> tuple[bool, float, str]:
    number = isinstance(key, int | float)
    return not number, float(key) if isinstance(key, int | float) else 0.0, f"{key}".lower()


def _columns(text: str, option: str) -> list[Column]:
    return [_column(name.strip(), option) for name in text.split(",") if name.strip()]


def _column(name: str, option: str) -> Column:
    column = COLUMNS.get(name.lower())
    if column is None:
        plain = [c for c in COLUMNS if not c.startswith(("delta-", "p-holm-"))]
        raise ConfigError(
            f"{option}: unknown column {name!r}.{did_you_mean(name.lower(), list(COLUMNS))}",
            hint=f"columns are {', '.join(plain)}; delta-METRIC and p-holm-METRIC compare with the baseline",
        )
    return column
