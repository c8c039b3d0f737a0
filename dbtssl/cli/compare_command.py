"""``dbtssl compare``: finished runs side by side."""

from __future__ import annotations

from pathlib import Path

import rich_click as click


@click.command(name="compare", epilog="Example: dbtssl compare runs/quick runs/quick-linear")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "markdown"]),
    default="terminal",
    show_default=True,
    help="How it is written.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(runs: tuple[Path, ...], form: str, as_json: bool) -> None:
    """Compare finished runs: differences, what was changed, which patients moved.

    RUNS are two or more folders that benchmarks left their tables in; the first is A. Differences are paired by
    patient, from the stored predictions, and refused where the evaluation sets or the protocols are not the same, or
    where the protocol is a diagnostic.
    """
    from rich.console import Console

    from dbtssl.benchmark.results.compare_runs import compare_runs
    from dbtssl.benchmark.results.finished_run import open_run
    from dbtssl.report import runs_compared as report

    found = compare_runs([open_run(run) for run in runs])
    if as_json:
        click.echo(report.as_json(found))
    elif form == "markdown":
        click.echo(report.markdown(found), nl=False)
    else:
        Console(highlight=False).print(report.renderable(found))
