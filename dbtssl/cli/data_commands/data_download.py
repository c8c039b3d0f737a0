"""``dbtssl data download``: BCS-DBT from the NCI Imaging Data Commons, sizes first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import rich_click as click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtssl.data.download.download import Plan
    from dbtssl.data.download.series_index import Split

FOLDER = click.Path(path_type=Path, file_okay=False)
NEXT = "the tables of labels, boxes and file paths are not at IDC: put them beside the volumes (docs/data.md), then"


@click.command(
    name="download",
    epilog="Example: dbtssl data download /data/BCS-DBT --split test --tables /data/tables --dry-run",
)
@click.argument("out", type=FOLDER)
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    help="The patients of a published split; needs one of its tables.",
)
@click.option(
    "--tables", type=FOLDER, help="Folder of the published tables, for --split.  [default: OUT]"
)
@click.option(
    "--split-from",
    metavar="LISTS",
    help="The patients of a part of a split that comes as lists, such as SIFT-DBT's; with --part.",
)
@click.option(
    "--part", type=click.Choice(["train", "val", "test"]), help="Which part, for --split-from."
)
@click.option(
    "--patients",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The patients that FILE lists: one id a line, or a CSV table with a column PatientID.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Of what was selected the first N patients by id.",
)
@click.option(
    "--source",
    type=click.Choice(["aws", "gcs"]),
    default="aws",
    show_default=True,
    help="Whose public buckets: Amazon's or Google's.",
)
@click.option("--dry-run", is_flag=True, help="Show sizes and free space, and fetch nothing.")
@click.option("--yes", is_flag=True, help="Fetch without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print the sizes as JSON.")
def command(
    out: Path,
    split: Split | None,
    tables: Path | None,
    split_from: str | None,
    part: Literal["train", "val", "test"] | None,
    patients: Path | None,
    limit: int | None,
    source: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Fetch BCS-DBT, or some patients of it, into OUT.

    All of it is 22,032 volumes and 1.6 TB. Options that select narrow each other; patients always come whole. Sizes,
    free space, licence and citation are shown first. What lies in OUT with its full size is not fetched again, so an
    interrupted download resumes when the same command is run again.
    """
    import json

    from dbtssl.data.download.download import download, idc_fetch, make_plan, total
    from dbtssl.data.download.series_index import (
        patients_in,
        patients_of_split,
        select,
        shipped_index,
    )
    from dbtssl.data.preparation.disk_space import gigabytes
    from dbtssl.data.splits.split_lists import read_lists

    _check(split, tables, split_from, part)
    chosen: list[frozenset[str]] = []
    if split is not None:
        chosen.append(patients_of_split(tables or out, split))
    if split_from is not None:
        listed = read_lists(split_from).listed
        chosen.append(frozenset(key.patient for key, row in listed.items() if row.part == part))
    if patients is not None:
        chosen.append(patients_in(patients))
    index = shipped_index()
    plan = make_plan(select(index.series, chosen, limit), out)
    click.echo(
        json.dumps(_facts(plan, index.version), indent=2)
        if as_json
        else "\n".join(_lines(plan, index.version))
    )
    if dry_run:
        return
    plan.check()
    if plan.missing:
        what = f"fetch {len(plan.missing):,} volumes, {gigabytes(plan.needed)}, into {out}?"
        if not yes and not click.confirm(what, err=True):
            click.echo("nothing fetched", err=True)
            return
        download(plan, idc_fetch(plan.missing, source))
    have = (*plan.there, *plan.missing)
    click.echo(f"{out}: {len(have):,} volumes, {gigabytes(total(have))}", err=as_json)
    click.echo(f"{NEXT}\n  dbtssl data check {out}", err=as_json)


def _check(split: str | None, tables: Path | None, lists: str | None, part: str | None) -> None:
    """Refuse options that say nothing without another one."""
    if (lists is None) != (part is None):
        raise click.UsageError("--split-from and --part go together.")
    if tables is not None and split is None:
        raise click.UsageError("--tables is for --split.")


def _groups(plan: Plan) -> dict[str, dict[str, int]]:
    """Patients, studies, volumes and bytes of what was selected, by whether it is there."""
    from dbtssl.data.download.download import total

    groups = {
        "selected": (*plan.there, *plan.missing),
        "already there": plan.there,
        "to fetch": plan.missing,
    }
    return {
        name: {
            "patients": len({one.patient for one in group}),
            "studies": len({one.study_uid for one in group}),
            "volumes": len(group),
            "bytes": total(group),
        }
        for name, group in groups.items()
    }


def _facts(plan: Plan, version: str) -> dict[str, Any]:
    from dbtssl.data.download.download import CITATIONS

    groups = {name.replace(" ", "_"): row for name, row in _groups(plan).items()}
    return {
        "index": version,
        "out": str(plan.out),
        **groups,
        "free_bytes": plan.free,
        "fits": plan.fits,
        "licences": plan.licences,
        "cite": CITATIONS,
    }


def _lines(plan: Plan, version: str) -> Iterator[str]:
    from dbtssl.data.download.download import CITATIONS, SPARE
    from dbtssl.data.preparation.disk_space import gigabytes

    yield f"BCS-DBT at the NCI Imaging Data Commons, index {version}"
    yield f"{'':14}{'patients':>10}{'studies':>10}{'volumes':>10}{'size':>14}"
    for name, row in _groups(plan).items():
        counts = "".join(f"{row[unit]:>10,}" for unit in ("patients", "studies", "volumes"))
        yield f"{name:14}{counts}{gigabytes(row['bytes']):>14}"
    yield f"{'free on disk':44}{gigabytes(plan.free):>14}"
    if not plan.fits:
        yield f"it does not fit: {gigabytes(SPARE)} of the disk are kept free"
    yield f"licence: {', '.join(plan.licences)}"
    yield from (f"cite: {text}" for text in CITATIONS)
