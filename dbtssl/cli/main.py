"""``dbtssl``: the group, its global options, and commands that are imported when they are called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from dbtssl.cli.failures import reported
from dbtssl.cli.lazy import add_commands
from dbtssl.cli.nameless import name_the_nameless
from dbtssl.cli.streams import make_tolerant

if TYPE_CHECKING:
    from collections.abc import Sequence

# name -> where the command is, and its line in the help of the group
COMMANDS = {
    "benchmark": ("dbtssl.cli.benchmark_command:command", "Run a benchmark and print its table."),
    "compare": (
        "dbtssl.cli.compare_command:command",
        "Compare finished runs: differences, what was changed, which patients moved.",
    ),
    "data": ("dbtssl.cli.data_command:command", "Prepare volumes and look at them."),
    "phantom": (
        "dbtssl.cli.phantom_command:command",
        "Write a phantom cohort to OUT, in the folders, files and tables of BCS-DBT.",
    ),
    "score": (
        "dbtssl.cli.score_command:command",
        "Score a file of predictions, of dbtssl or of any other system.",
    ),
    "plugins": ("dbtssl.cli.plugins_command:command", "List plugins and their components."),
    "report": ("dbtssl.cli.report_command:command", "Write a finished run as one HTML file."),
    "table": (
        "dbtssl.cli.table_command:command",
        "Show the table of a finished run, in any format.",
    ),
}


class _Group(click.RichGroup):
    """Whatever a command raises is reported here, once, on any terminal."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        make_tolerant()
        name_the_nameless()
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with reported(debug=ctx.params["debug"]):
            return super().invoke(ctx)


def _add_plugins(ctx: click.Context, param: click.Parameter, value: Sequence[Path]) -> None:
    from dbtssl.errors import PluginError
    from dbtssl.plugins.files import add_plugin_file
    from dbtssl.plugins.registry import registry

    for path in value:
        try:
            add_plugin_file(path)
        except PluginError as exc:
            raise click.BadParameter(f"{exc.message}; {exc.hint}", ctx, param) from None
        registry.cache_clear()


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if not value:
        return
    import dbtssl
    from dbtssl.plugins.registry import registry

    click.echo(f"dbtssl {dbtssl.__version__}")
    for plugin in registry().plugins:
        failed = "" if plugin.status == "ok" else ", failed to load"
        click.echo(f"  {plugin}{failed}")
    ctx.exit()


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: dbtssl benchmark",
)
@click.option(
    "--plugin",
    "plugins",
    metavar="FILE.py",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    is_eager=True,  # so that --version lists it wherever it stands
    expose_value=False,
    callback=_add_plugins,
    help="Load one file as a plugin; may be given again.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version of dbtssl and of its plugins.",
)
def main(debug: bool) -> None:
    """Self-supervised learning on digital breast tomosynthesis: methods as plugins, one honest table."""


add_commands(main, COMMANDS)
