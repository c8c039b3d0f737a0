"""Commands that are imported when they are called, so that help stays fast."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from collections.abc import Mapping


class LazyCommand(click.RichCommand):
    """A name and a line of help; the command itself is imported when a context for it is made."""

    def __init__(self, name: str, target: str, short_help: str) -> None:
        super().__init__(name=name, short_help=short_help)
        self.target = target

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Import the command and let it parse its arguments."""
        module, _, attribute = self.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command.make_context(info_name, args, parent, **extra)


def add_commands(group: click.Group, commands: Mapping[str, tuple[str, str]]) -> None:
    """Add ``name -> (target, line of help)`` to ``group``."""
    for name, (target, short_help) in commands.items():
        group.add_command(LazyCommand(name, target, short_help))
