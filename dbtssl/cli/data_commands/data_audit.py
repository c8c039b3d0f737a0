"""``dbtssl data audit``: what gives the label away without the breast being looked at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import rich_click as click

if TYPE_CHECKING:
    from dbtssl.audit.collect import Material
    from dbtssl.audit.confounders import Where
    from dbtssl.data.splits.patient_split import Actionable
    from dbtssl.data.splits.split_lists import SplitLists

EPILOG = "Example: dbtssl data audit /data/BCS-DBT --split-from lists --slice-counts BCS-DBT_slice_cnt.json"


@click.command(name="audit", epilog=EPILOG)
@click.argument("where", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--split-from",
    metavar="LISTS",
    help="Folder of SIFT-DBT's lists or the published tables (official:FOLDER where it holds both).",
)
@click.option(
    "--part",
    type=click.Choice(["all", "train", "val", "test"]),
    help="Volumes that are scored.  [default: test with --split-from, else all]",
)
@click.option(
    "--source",
    metavar="NAME",
    help="Look at the files below WHERE as this source lists them: bcs-dbt, phantom, or a plugin's.",
)
@click.option(
    "--slice-counts",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="JSON",
    help="Frames of each volume by its classic_path.",
)
@click.option(
    "--actionable",
    type=click.Choice(["drop", "normal", "abnormal"]),
    default="drop",
    show_default=True,
    help="Volumes recalled but not biopsied.",
)
@click.option("--no-pixels", is_flag=True, help="Decode no frame: leave the background out.")
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="J", help="Processes.  [default: one a core]"
)
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="An option of the source."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    where: Path,
    split_from: str | None,
    part: str | None,
    source: str | None,
    slice_counts: Path | None,
    actionable: str,
    no_pixels: bool,
    jobs: int | None,
    assignments: tuple[str, ...],
    as_json: bool,
) -> None:
    """Test what could give the label away: views, frames, matrix, description, file size, background, side.

    WHERE is a prepared data set, a folder with the published tables, or, with --source, a folder of files. Each feature
    is scored alone, as if it were a method: an AUC whose interval lies off 0.5 is a shortcut.
    """
    from rich.console import Console

    from dbtssl.audit.collect import with_slice_counts
    from dbtssl.audit.confounders import audit
    from dbtssl.config import set_key
    from dbtssl.data.splits.split_lists import read_lists
    from dbtssl.errors import ConfigError
    from dbtssl.report import audit_report as report

    lists = None if split_from is None else read_lists(split_from)
    if lists is None and part not in (None, "all"):
        raise ConfigError(f"--part {part} needs lists", hint="give them with --split-from LISTS")
    chosen = part or ("test" if lists else "all")
    options: dict[str, Any] = {}
    for assignment in assignments:
        set_key(options, assignment)
    material = _material(where, source, options, lists, pixels=not no_pixels, jobs=jobs)
    if slice_counts is not None:
        material = with_slice_counts(material, slice_counts, lists, where)
    findings = audit(
        material.seen,
        material.parts,
        part=cast("Where", chosen),
        actionable=cast("Actionable", actionable),
    )
    kind = "PHANTOM, " if material.phantom else ""
    of = f"{chosen} of {lists.name} split {lists.digest[:8]}" if lists else "all volumes"
    title = f"{kind}{material.where}: {of}, Actionable: {actionable}"
    if as_json:
        click.echo(report.as_json(title, findings, material.notes))
    else:
        Console().print(report.renderable(title, findings, material.notes))


def _material(
    where: Path,
    source: str | None,
    options: dict[str, Any],
    lists: SplitLists | None,
    *,
    pixels: bool,
    jobs: int | None,
) -> Material:
    from dbtssl.audit.collect import from_files, from_prepared, from_tables
    from dbtssl.data.deidentify import privacy_by
    from dbtssl.data.prepared.prepared_dataset import MANIFEST, PreparedDataset
    from dbtssl.errors import DataError
    from dbtssl.plugins.registry import registry
    from dbtssl.workers import cores

    if (where / MANIFEST).is_file():
        dataset = PreparedDataset.open(where)
        if lists is not None:
            privacy = privacy_by(dataset.ids)
            lists = privacy.lists(lists)
        return from_prepared(dataset, lists, pixels=pixels)
    if source is not None:
        raws = registry().build("source", source, options).volumes(where)
        return from_files(where, raws, lists, pixels=pixels, jobs=jobs or cores())
    if not where.is_dir():
        raise DataError(f"no such folder: {where}", hint="check the path")
    return from_tables(where, lists)
