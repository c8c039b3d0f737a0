"""``dbtssl report``: a finished run as one HTML file."""

from __future__ import annotations

from pathlib import Path

import rich_click as click


@click.command(name="report", epilog="Example: dbtssl report runs/quick")
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write.  [default: report.html in the folder of the run]",
)
def command(run: Path, out: Path | None) -> None:
    """Write a finished run as one HTML file.

    RUN is the folder that a benchmark left its table in. The file holds tables, curves, slices and where all of it
    comes from, and needs no network and no other file.
    """
    from dbtssl.benchmark.results.finished_run import PAGE, open_run
    from dbtssl.benchmark.results.report_content import write_report

    opened = open_run(run)
    path = out or opened.folder / PAGE
    size = write_report(opened, path)
    click.echo(f"{path}: {size / 1e6:.2f} MB")
