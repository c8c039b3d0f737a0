"""``dbtssl benchmark``: the main job, from volumes to the table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from dbtssl.benchmark.run import Line

EPILOG = "Example: dbtssl benchmark --data bcs-dbt:/data/BCS-DBT --set predict.patches=5"


@click.command(name="benchmark", epilog=EPILOG)
@click.argument("spec", required=False, type=click.Path(path_type=Path))
@click.option(
    "--data",
    metavar="SOURCE:ROOT",
    help="Where the volumes are; replaces \\[data]. A prepared folder is used as it is.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Folder of the results and of the store.",
)
@click.option(
    "--set",
    "assignments",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change one key of the specification; may be given again.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="Refuse rows that differ in more than the method: fine-tuning, encoder, images seen in pretraining.",
)
@click.option("--plan", is_flag=True, help="Show what would be done; do nothing.")
def command(
    spec: Path | None,
    data: str | None,
    out: Path,
    assignments: tuple[str, ...],
    strict: bool,
    plan: bool,
) -> None:
    """Run a benchmark and print its table.

    SPEC is a TOML file; without one, the quick benchmark on the phantom that dbtssl makes itself. What was done before
    is not done again, and an interrupted run resumes where it stopped.
    """
    from dbtssl.benchmark.spec.spec_files import builtin_spec, load_spec

    loaded = load_spec(spec or builtin_spec("quick"), data, assignments)
    if plan:
        from dbtssl.benchmark.run import plan_benchmark

        _print_plan(plan_benchmark(loaded, out, strict=strict))
        return
    from dbtssl.benchmark.keep_results import benchmark
    from dbtssl.errors import ConfigError

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(
            f"--out {out}: {exc.strerror}", hint="choose a folder that you may write to"
        ) from None
    if len(loaded.labels) > 1:
        from dbtssl.benchmark.label_curves import benchmark_budgets

        benchmark_budgets(loaded, out, strict=strict)
    else:
        benchmark(loaded, out, strict=strict)


def _print_plan(lines: list[Line]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("stage", "of", "state"):
        table.add_column(heading)
    table.add_column("took, s", justify="right")
    for line in lines:
        seconds = "" if line.seconds is None else f"{line.seconds:.0f}"
        style = "dim" if line.status == "done" else ""
        table.add_row(line.stage, line.label, line.status, seconds, style=style)
    Console().print(table)
    todo = sum(line.status != "done" for line in lines)
    click.echo(f"{todo} of {len(lines)} stages to run")
