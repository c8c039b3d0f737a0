"""``dbtssl data prepare``: from DICOM files to a prepared data set."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(
    name="prepare",
    epilog="Example: dbtssl data prepare bcs-dbt /data/BCS-DBT prepared/bcs-768 --short-side 768",
)
@click.argument("source")
@click.argument("root", type=click.Path(path_type=Path))
@click.argument("out", type=FOLDER)
@click.option(
    "--short-side",
    type=click.IntRange(min=16),
    metavar="N",
    help="Shrink slices until their shorter side has N pixels.  [default: as stored]",
)
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="J", help="Processes.  [default: one a core]"
)
def command(source: str, root: Path, out: Path, short_side: int | None, jobs: int | None) -> None:
    """Decode, turn, shrink and store the volumes below ROOT in the folder OUT.

    SOURCE is bcs-dbt, phantom or what a plugin brings. What was prepared before is not done again, and an interrupted
    run goes on where it stopped.
    """
    from dbtssl.data.phantom_source import is_phantom
    from dbtssl.data.prepare import PrepareConfig
    from dbtssl.data.prepare import prepare as run
    from dbtssl.data.store import PreparedDataset
    from dbtssl.plugins.registry import registry

    raws = registry().build("source", source, {}).volumes(root)
    config = PrepareConfig(short_side=short_side)
    run(source, raws, out, config, phantom=is_phantom(root), jobs=jobs)
    dataset = PreparedDataset.open(out)
    kind = "phantom volumes" if dataset.phantom else "volumes"
    click.echo(f"{out}: {len(dataset.cohort)} {kind}, digest {dataset.digest[:12]}")
