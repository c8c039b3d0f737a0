"""``dbtssl data``: the group; each of its commands is a file beside this one."""

from __future__ import annotations

import rich_click as click

from dbtssl.cli.lazy import add_commands

# name -> where the command is, and its line in the help of the group
COMMANDS = {
    "audit": (
        "dbtssl.cli.data_commands.data_audit:command",
        "Look for what gives the label away without the breast.",
    ),
    "tables": (
        "dbtssl.cli.data_commands.data_tables:command",
        "Count what the published tables hold.",
    ),
    "check": (
        "dbtssl.cli.data_commands.data_check:command",
        "Look for every listed volume, in any layout.",
    ),
    "download": (
        "dbtssl.cli.data_commands.data_download:command",
        "Fetch BCS-DBT, or some patients of it, into OUT.",
    ),
    "prepare": (
        "dbtssl.cli.data_commands.data_prepare:command",
        "Turn DICOM files into a prepared data set.",
    ),
    "show": (
        "dbtssl.cli.data_commands.data_show:command",
        "Count what a prepared data set holds; draw it.",
    ),
}


@click.group(name="data")
def command() -> None:
    """Prepare volumes and look at them."""


add_commands(command, COMMANDS)
