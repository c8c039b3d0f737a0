"""``dbtssl data check``: which listed volumes lie below some folders, and where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtssl.data.sources.layouts import Located
    from dbtssl.data.tables.published_tables import Key

INCOMPLETE = 1  # exit code where a listed volume is missing or ambiguous
SHOWN = 10  # volumes or files of a state that are printed


@click.command(
    name="check", epilog="Example: dbtssl data check /data/BCS-DBT /disk2/BCS-DBT --json"
)
@click.argument(
    "roots", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="ROOT..."
)
@click.option("--json", "as_json", is_flag=True, help="Print every volume and file as JSON.")
def command(roots: tuple[Path, ...], as_json: bool) -> None:
    """Look for every volume that the tables list below the folders ROOT, whatever tool fetched them.

    A volume is found, missing, ambiguous (several files that differ), or contradicted: the header of its file says
    another series, study, patient, view or side. Extra files are no listed volume. The tables may lie below any ROOT.
    The beginning of every file is read, nothing is written. Exit code 0 if every listed volume is found, 1 if not.
    """
    from dbtssl.data.sources.bcs_dbt import table_roots
    from dbtssl.data.sources.layouts import listed_paths, locate

    listed = listed_paths(table_roots(roots))
    located = locate(listed, roots, headers=True)
    if as_json:
        click.echo(json.dumps(_plain(listed, located), indent=2))
    else:
        _print(located)
    if len(located.keys("found")) < len(listed):
        raise Exit(INCOMPLETE)


def _plain(listed: Mapping[Key, str], located: Located) -> dict[str, Any]:
    return {
        "counts": _counts(located),
        "layouts": _layouts(located),
        "volumes": [
            {
                "patient": key.patient,
                "study": key.study,
                "view": key.view,
                "state": place.state,
                "layout": place.layout,
                "files": [str(path) for path in place.files],
                "note": place.note,
                **({"hint": place.hint} if place.hint else {}),
            }
            for key, place in sorted(located.places.items())
        ],
        "extra": [str(path) for path in located.extra],
        "problems": list(located.problems),
    }


def _counts(located: Located) -> dict[str, int]:
    from dbtssl.data.sources.layouts import STATES

    states: dict[str, int] = {state: len(located.keys(state)) for state in STATES}
    if not states["contradicted"]:  # rare, and so only if there is one
        del states["contradicted"]
    return {"listed": len(located.places), **states, "extra": len(located.extra)}


def _layouts(located: Located) -> dict[str, int]:
    from dbtssl.data.sources.layouts import LAYOUTS

    layouts = [place.layout for place in located.places.values()]
    return {name: layouts.count(name) for name in LAYOUTS if name in layouts}


def _print(located: Located) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from dbtssl.data.sources.layouts import STATES

    console = Console()
    table = Table("listed volumes", "", title_justify="left")
    table.columns[1].justify = "right"
    counts = _counts(located)
    table.add_row("listed", f"{counts.pop('listed'):,}")
    extra = counts.pop("extra")
    for state, n in counts.items():
        table.add_row(f"  {state}", f"{n:,}")
        if state == "found":
            for layout, of_layout in _layouts(located).items():
                table.add_row(f"    {layout}", f"{of_layout:,}")
    table.add_row("extra files", f"{extra:,}")
    console.print(table)
    shown: dict[str, list[str]] = {
        **{
            state: [_line(located, key) for key in located.keys(state)]
            for state in STATES
            if state != "found"
        },
        "extra": [str(path) for path in located.extra],
        "not read": list(located.problems),
    }
    for what, lines in shown.items():
        for line in lines[:SHOWN]:
            console.print(Text(f"{what}: {line}"), soft_wrap=True)
        if len(lines) > SHOWN:
            console.print(Text(f"{what}: {len(lines) - SHOWN:,} more, see --json"))


def _line(located: Located, key: Key) -> str:
    place = located.places[key]
    files = ", ".join(map(str, place.files))
    hint = f"next step: {place.hint}" if place.hint else ""
    return "; ".join(part for part in ("/".join(key), place.note, files, hint) if part)
