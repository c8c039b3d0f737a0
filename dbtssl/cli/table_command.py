"""``dbtssl table``: the table of a finished run, other columns, other formats."""

from __future__ import annotations

import sys
from pathlib import Path

import rich_click as click

FORMATS = ("terminal", "markdown", "latex", "csv", "json", "parquet")


@click.command(
    name="table",
    epilog='Example: dbtssl table runs/quick --where "level=volume" --sort -auc --cols auc,delta-auc,ap --format latex',
)
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--where",
    default="",
    metavar="CONDITIONS",
    help="Rows to show: NAME=VALUE, !=, >, <, >=, <=, joined by &. Fractions are in percent.",
)
@click.option(
    "--sort", default="", metavar="NAMES", help="Order of the methods; -auc puts the highest first."
)
@click.option("--cols", default="", metavar="NAMES", help="Columns, separated by commas.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="terminal",
    show_default=True,
    help="How it is written; csv, json and parquet hold every metric of the rows.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write.  [default: standard output]",
)
def command(run: Path, where: str, sort: str, cols: str, form: str, out: Path | None) -> None:
    """Show the table of a finished run, in any format.

    RUN is the folder that a benchmark left its table in.
    """
    from dbtssl.benchmark.results.finished_run import open_run
    from dbtssl.benchmark.results.run_record import record_table
    from dbtssl.errors import ConfigError
    from dbtssl.io import write_bytes
    from dbtssl.report.query import overview, select
    from dbtssl.report.writers.terminal import print_table
    from dbtssl.report.writers.write_table import TO_READ, render

    opened = open_run(run)
    table = record_table(opened.record, opened.store)
    if not where and form in TO_READ:
        table = overview(table)
    table = select(table, where=where, sort=sort, columns=cols)
    if form == "terminal" and out is None:
        print_table(table)
        return
    if form == "parquet" and out is None:
        raise ConfigError(
            "--format parquet is no text", hint="name a file with --out table.parquet"
        )
    content = render(table, form)
    if out is not None:
        write_bytes(out, content)
        click.echo(f"{out}: {len(content):,} bytes")
    else:
        sys.stdout.buffer.write(content)
