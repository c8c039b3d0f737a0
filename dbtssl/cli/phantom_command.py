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
@click.option(
    "--anatomy",
    type=click.Choice(["full", "plain"]),
    default="full",
    show_default=True,
    help="With all that is bright and no lesion, or the easy one without.",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Processes; by default one a core.")
def command(
    out: Path,
    patients: int,
    seed: int,
    rows: int,
    spacing: float | None,
    prevalence: str,
    anatomy: str,
    jobs: int | None,
) -> None:
    """Write a phantom cohort to OUT, in the folders, files and tables of BCS-DBT.

    The breasts are simulated: gland, fat, ligaments, skin, muscle and lesions, compressed,
    projected and reconstructed as on a Selenia Dimensions. Texture, grey levels, noise, and the
    size, depth and kind of lesions are set by real slices of BCS-DBT. With --anatomy full, ill and
    healthy breasts alike also have vessels, lymph nodes, cysts, islands of fat and of gland,
    calcifications, moles and marker rings; plain has none of these. Beside the tables,
    phantom-truth.json says what lies where. docs/phantom.md says what is calibrated and what is
    not.

    The same options give the same bytes; an interrupted run resumes when it is run again.
    """
    from collections import Counter

    from dbtssl.config import validate
    from dbtssl.phantom.cohort.phantom_cohort import plan
    from dbtssl.phantom.model.phantom_config import PhantomConfig
    from dbtssl.phantom.output.write_cohort import write_cohort

    options = {
        "patients": patients,
        "seed": seed,
        "rows": rows,
        "spacing": spacing,
        "prevalence": prevalence,
        "anatomy": anatomy,
    }
    config = validate(PhantomConfig, options, "phantom")
    write_cohort(config, out, jobs)
    volumes = plan(config)
    labels = Counter(volume.label for volume in volumes)
    counts = ", ".join(f"{labels[label]} {label.name.lower()}" for label in sorted(labels))
    studies = len({volume.study for volume in volumes})
    click.echo(f"{len(volumes)} volumes of {studies} studies, {patients} patients: {counts}")
    click.echo(f"wrote {out}")
