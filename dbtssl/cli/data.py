"""``dbtssl data``: prepare volumes for training, and look at what was prepared."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group(name="data")
def command() -> None:
    """Prepare volumes and look at them."""


@command.command(
    epilog="Example: dbtssl data prepare bcs-dbt /data/BCS-DBT prepared/bcs-768 --short-side 768"
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
def prepare(source: str, root: Path, out: Path, short_side: int | None, jobs: int | None) -> None:
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


@command.command(epilog="Example: dbtssl data show prepared/bcs-768 --png sheet.png")
@click.argument("out", type=FOLDER)
@click.option(
    "--png",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a contact sheet: slices with their boxes and tissue outline.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the split that is counted.")
def show(out: Path, png: Path | None, seed: int) -> None:
    """Count patients, volumes and boxes of the prepared data set OUT by split and label."""
    from rich.console import Console

    from dbtssl.data.show import contact_sheet, summary
    from dbtssl.data.split import split_patients
    from dbtssl.data.store import PreparedDataset

    dataset = PreparedDataset.open(out)
    Console().print(summary(dataset, split_patients(dataset.cohort, seed=seed)))
    if png is not None:
        click.echo(f"{png}: {contact_sheet(dataset, png)} slices")
