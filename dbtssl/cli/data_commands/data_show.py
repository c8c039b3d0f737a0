"""``dbtssl data show``: what a prepared data set holds."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(name="show", epilog="Example: dbtssl data show prepared/bcs-768 --png sheet.png")
@click.argument("out", type=FOLDER)
@click.option(
    "--png",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a contact sheet: slices with their boxes and tissue outline.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the split that is counted.")
def command(out: Path, png: Path | None, seed: int) -> None:
    """Count patients, volumes and boxes of the prepared data set OUT by split and label."""
    from rich.console import Console

    from dbtssl.data.preparation.pixel_sizes import sentence
    from dbtssl.data.prepared.prepared_dataset import PreparedDataset
    from dbtssl.data.splits.patient_split import split_patients
    from dbtssl.report.slice_picture import contact_sheet, summary

    dataset = PreparedDataset.open(out)
    Console().print(summary(dataset, split_patients(dataset.cohort, seed=seed)))
    if differ := sentence(out):
        click.echo(differ)
    if png is not None:
        click.echo(f"{png}: {contact_sheet(dataset, png)} slices")
