"""Which folder a run's table goes to: that of its name, unless a run of other settings has left its table there.

The same settings come back to their folder, and so do more rows, seeds or shares of the labels beside those that are
there. Other settings go to NAME-2, NAME-3 ..., so that no table is lost and no picture stands beside another's.
"""

from __future__ import annotations

import sys
from itertools import count
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from dbtssl.benchmark.results.run_record import RECORD, Record
from dbtssl.benchmark.spec.spec_files import recorded_spec
from dbtssl.config import canonical_json, result_fields
from dbtssl.errors import DbtsslError
from dbtssl.report.row_differences import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dbtssl.benchmark.spec.specification import Spec

GROWS = ("methods", "seeds")  # more of these are the same run, continued
TABLES, ONE, SEVERAL = "tables", "one", "one for each share of the labels"
MANY = 6  # keys that the message names


def run_folder(spec: Spec, out: Path) -> Path:
    """The folder below ``out`` for the table of ``spec``; says on stderr where it is not the one of its name."""
    wanted = out / spec.name
    asked = _settings(spec, several=len(spec.labels) > 1)
    first: dict[str, str] = {}
    for number in count(1):
        folder = wanted if number == 1 else out / f"{spec.name}-{number}"
        earlier = _earlier(folder)
        differs = {} if earlier is None else _differs(earlier, asked)
        first = first or differs
        if not differs:
            break
    if folder != wanted:
        more = f" and {len(first) - MANY} keys more" if len(first) > MANY else ""
        print(
            f"{wanted} holds a run of other settings and is left as it is: {', '.join(list(first.values())[:MANY])}"
            f"{more}.\nThis run's table goes to {folder}. For another name: --set name=NAME; to replace the other "
            "one, remove its folder first (what is in the store is not made again).",
            file=sys.stderr,
        )
    return folder


def replaced_rows(folder: Path, record: Record) -> list[str]:
    """Rows and seeds of the table in ``folder`` that have other numbers in ``record``."""
    earlier = _record(folder)
    if earlier is None:
        return []
    scores = {(row.method, row.seed): row.score for row in record.rows}
    return [
        f"{row.method}, seed {row.seed}"
        for row in earlier.rows
        if row.score and scores.get((row.method, row.seed), row.score) not in (row.score, "")
    ]


def _differs(earlier: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, str]:
    """Keys whose values differ, with both values; rows, seeds and shares of the labels that are added do not count."""
    out: dict[str, str] = {}
    added = tuple(f"method.{name}." for name in set(asked["methods"]) - set(earlier["methods"]))
    grows = (*GROWS, "labels") if earlier[TABLES] == asked[TABLES] == SEVERAL else GROWS
    for key in dict.fromkeys((*earlier, *asked)):
        before, now = earlier.get(key), asked.get(key)
        if canonical_json(before) == canonical_json(now) or (added and key.startswith(added)):
            continue
        if key in grows and set(before or ()) <= set(now or ()):
            continue
        out[key] = f"{key} {shown(before)} there, {shown(now)} here"
    return out


def _earlier(folder: Path) -> dict[str, Any] | None:
    """The settings of the run in ``folder``, or of its runs for shares of the labels; None where there is none."""
    single = _recorded(folder)
    if single is not None:
        return _settings(single, several=False)
    shares = [x for path in sorted(folder.glob("labels-*")) if (x := _recorded(path))]
    if not shares:
        return None
    labels = [share for one in shares for share in one.labels]
    return _settings(shares[0], several=True) | {"labels": labels}


def _record(folder: Path) -> Record | None:
    try:
        return Record.model_validate_json((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return None


def _recorded(folder: Path) -> Spec | None:
    record = _record(folder)
    try:
        return None if record is None else recorded_spec(record.spec, f"{folder / RECORD}")
    except DbtsslError:  # of another version
        return None


def _settings(spec: Spec, *, several: bool) -> dict[str, Any]:
    """What decides a number, by dotted key; the title does not, nor what a row's table leaves open."""
    flat = {
        key: value
        for key, value in _flat(result_fields(spec))
        if key != "title" and not (key.startswith("method.") and value in ("", None))
    }
    return flat | {TABLES: SEVERAL if several else ONE}


def _flat(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tables.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
