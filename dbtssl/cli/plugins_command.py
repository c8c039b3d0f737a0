"""``dbtssl plugins``: what is installed, what it provides, and why something failed to load."""

from __future__ import annotations

import json
import traceback
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from dbtssl.plugins import PluginInfo

EPILOG = "Example: dbtssl plugins --json"


@click.command(name="plugins", epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one object a plugin.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List plugins and their components.

    A plugin that fails to load, or names a target that is not there, is a row that says why; the others are not
    touched by it. Targets are looked for and not imported.
    """
    from dbtssl.plugins import registry
    from dbtssl.plugins.checks.method_names import inspected

    plugins = [inspected(registry(), plugin) for plugin in registry().plugins]
    if as_json:
        click.echo(json.dumps([_plain(plugin) for plugin in plugins], indent=2))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    console.print(_table(plugins))
    debug = ctx.find_root().params.get("debug", False)
    for plugin in plugins:
        for note in plugin.notes:
            console.print(Text.assemble((f"{plugin}: ", "bold yellow"), note), soft_wrap=True)
        if plugin.status != "ok":
            console.print(_failure(plugin, debug), soft_wrap=True)


def _plain(plugin: PluginInfo) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "status": plugin.status,
        "detail": plugin.detail,
        "notes": list(plugin.notes),
        "components": [
            {"kind": c.kind, "name": c.name, "summary": c.summary} for c in plugin.components
        ],
    }


def _table(plugins: list[PluginInfo]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in ("plugin", "distribution", "status", "kind", "component", "summary"):
        table.add_column(heading)
    for plugin in plugins:
        head: tuple[str, ...] = (plugin.name, plugin.origin, plugin.status)
        for component in plugin.components or (None,):
            tail = (
                (component.kind, component.name, component.summary) if component else ("", "", "")
            )
            table.add_row(*map(Text, (*head, *tail)))  # a Text, so that no markup is read
            head = ("", "", "")
    return table


def _failure(plugin: PluginInfo, debug: bool) -> Text:
    from rich.text import Text

    what = "failed" if plugin.status == "failed" else "has faults"
    text = Text.assemble((f"{plugin} {what}: ", "bold red"), plugin.detail)
    if debug and plugin.error is not None:
        text.append("\n" + "".join(traceback.format_exception(plugin.error)))
    return text
