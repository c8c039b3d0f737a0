"""``dbtssl phantom``: write a phantom cohort that reads like a BCS-DBT download."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

EXAMPLE = "Example: dbtssl phantom data/phantom --patients 80 --seed 1 --rows 256"


@click.command(name="phantom", epilog=EXAMPLE)
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--patients", type=int, default=80, show_default=True, help="Number of patients.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every random number.")
@click.option(
    "--rows",
    type=int,
    default=256,
    show_default=True,
    help="Pixels along the chest wall (245 mm); 2457 is full size.",
)
@click.option(
    "--spacing",
    type=float,
    metavar="MM",
    help="Distance of slices in mm; by default the larger of 1 and 512 / rows.",
)
@click.option(
    "--prevalence",
    type=click.Choice(["bcs", "balanced"]),
    default="balanced",
    show_default=True,
    help="Labels as in BCS-DBT (8.6 % not normal), or half of the patients abnormal.",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Processes; by default one a core.")
def command(
    out: Path,
    patients: int,
    seed: int,
    rows: int,
    spacing: float | None,
    prevalence: str,
    jobs: int | None,
) -> None:
    """Write a phantom cohort to OUT, in the folders, files and tables of BCS-DBT.

    The breasts are simulated. The same options give the same bytes; an interrupted run goes on when
    it is run again.
    """
    from collections import Counter

    from dbtssl.config import validate
    from dbtssl.phantom.cohort import plan
    from dbtssl.phantom.config import PhantomConfig
    from dbtssl.phantom.write import write_cohort

    options = {
        "patients": patients,
        "seed": seed,
        "rows": rows,
        "spacing": spacing,
        "prevalence": prevalence,
    }
    config = validate(PhantomConfig, options, "phantom")
    write_cohort(config, out, jobs)
    volumes = plan(config)
    labels = Counter(volume.label for volume in volumes)
    counts = ", ".join(f"{labels[label]} {label.name.lower()}" for label in sorted(labels))
    studies = len({volume.study for volume in volumes})
    click.echo(f"{len(volumes)} volumes of {studies} studies, {patients} patients: {counts}")
    click.echo(f"wrote {out}")
