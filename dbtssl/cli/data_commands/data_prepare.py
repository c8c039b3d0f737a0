"""``dbtssl data prepare``: from DICOM files to a prepared data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

FOLDER = click.Path(path_type=Path, file_okay=False)
SMALLEST = 16  # pixels of a slice's shorter side


def _resolution(ctx: click.Context, param: click.Parameter, value: str) -> str | int:
    """``native``, ``half``, or a number of pixels."""
    if value in ("native", "half"):
        return value
    if not value.isdecimal() or int(value) < SMALLEST:
        raise click.BadParameter(
            f"{value!r} is none of native, half, or a number from {SMALLEST} on", ctx, param
        )
    return int(value)


@click.command(
    name="prepare",
    epilog="Example: dbtssl data prepare bcs-dbt /data/BCS-DBT prepared/bcs-half --resolution half --jobs 16",
)
@click.argument("source")
@click.argument("root", type=click.Path(path_type=Path))
@click.argument("out", type=FOLDER)
@click.option(
    "--resolution",
    callback=_resolution,
    metavar="native|half|N",
    default="native",
    show_default=True,
    help="native keeps every pixel; half decodes JPEG 2000 at its half-resolution level, at a third of the cost; "
    "N is --short-side N.",
)
@click.option(
    "--short-side",
    type=click.IntRange(min=SMALLEST),
    metavar="N",
    help="Shrink slices until their shorter side has N pixels.  [default: as decoded]",
)
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="J", help="Processes.  [default: one a core]"
)
@click.option(
    "--max-bad",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Go without up to N volumes that cannot be prepared; OUT/quarantine.csv lists them.",
)
@click.option(
    "--keep-ids",
    is_flag=True,
    help="Keep patient and study ids of a source that is not public, instead of keyed hashes.",
)
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="An option of the source."
)
def command(
    source: str,
    root: Path,
    out: Path,
    resolution: str | int,
    short_side: int | None,
    jobs: int | None,
    max_bad: int,
    keep_ids: bool,
    assignments: tuple[str, ...],
) -> None:
    """Decode, turn, shrink and store the volumes below ROOT in the folder OUT.

    SOURCE is bcs-dbt, phantom or what a plugin provides. What was prepared before is not done again, and an interrupted
    run resumes where it stopped.
    """
    from dbtssl.config import set_key
    from dbtssl.data.preparation.pixel_sizes import sentence
    from dbtssl.data.preparation.preparation_state import NOTES, QUARANTINE, count_rows
    from dbtssl.data.preparation.prepare import PrepareConfig
    from dbtssl.data.preparation.prepare import prepare as run
    from dbtssl.data.prepared.prepared_dataset import PreparedDataset
    from dbtssl.data.sources.phantom_source import is_phantom
    from dbtssl.plugins.registry import registry

    if isinstance(resolution, int):
        if short_side not in (None, resolution):
            raise click.UsageError(
                f"--resolution {resolution} and --short-side {short_side} differ"
            )
        short_side, resolution = resolution, "native"
    options: dict[str, Any] = {}
    for assignment in assignments:
        set_key(options, assignment)
    component = registry().build("source", source, options)
    config = PrepareConfig.model_validate(
        {"short_side": short_side, "resolution": resolution, "keep_ids": keep_ids}
    )
    run(
        component,
        component.volumes(root),
        out,
        config,
        name=source,
        phantom=is_phantom(root),
        jobs=jobs,
        max_bad=max_bad,
    )
    dataset = PreparedDataset.open(out)
    kind = "phantom volumes" if dataset.phantom else "volumes"
    click.echo(f"{out}: {len(dataset.cohort)} {kind}, digest {dataset.digest[:12]}")
    if differ := sentence(out):
        click.echo(differ)
    for name, what in ((QUARANTINE, "left out"), (NOTES, "noted")):
        if rows := count_rows(out / name):
            click.echo(f"{out / name}: {rows} {what}")
