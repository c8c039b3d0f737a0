"""What the user sees when a command fails: one message, one next step, one exit code."""

from __future__ import annotations

import errno
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from dbtssl.errors import DataError, DbtsslError, MachineError, system_error

if TYPE_CHECKING:
    from collections.abc import Iterator

BUG = 1  # something that is not the user's to mend
REFUSED = 2  # a user's mistake; click uses the same code for a wrong option
INTERRUPTED = 130  # 128 + SIGINT, as shells have it

_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def reported(*, debug: bool) -> Iterator[None]:
    """Turn an exception of the block into a message on stderr and an exit code; click's own pass through."""
    try:
        yield
        sys.stdout.flush()  # a closed pipe shows here, not at the interpreter's end
    except (click.exceptions.Exit, click.exceptions.Abort, click.ClickException, BrokenPipeError):
        raise
    except KeyboardInterrupt:
        _say("interrupted", "", debug)
        raise click.exceptions.Exit(INTERRUPTED) from None
    except DbtsslError as exc:
        _say(exc.message, exc.hint, debug)
        raise click.exceptions.Exit(REFUSED) from None
    except Exception as exc:
        if full := _disk_full(exc):
            where = f" ({full.filename})" if full.filename else ""
            _say(f"the disk is full{where}", "make room and run the same command again", debug)
            raise click.exceptions.Exit(REFUSED) from None
        if error := _of_the_system(exc):
            _say(error.message, error.hint, debug)
            raise click.exceptions.Exit(REFUSED) from None
        _say(
            f"{type(exc).__name__}: {exc}",
            f"this is a bug in {_culprit(exc)}; run again with --debug before the command and report it",
            debug,
        )
        raise click.exceptions.Exit(BUG) from None


def _say(message: str, hint: str, debug: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    if debug:
        console.out(traceback.format_exc(), highlight=False, end="")
    for label, style, text in (("error", "bold red", message), ("hint", "bold cyan", hint)):
        if text:
            line = Text.assemble((f"{label}: ", style), text)  # a Text, so that no markup is read
            console.print(line, soft_wrap=True)


def _disk_full(exc: BaseException | None) -> OSError | None:
    """The exception, or one that it came from, if it is a full disk or quota."""
    while exc is not None:
        if isinstance(exc, OSError) and exc.errno in _FULL:
            return exc
        exc = exc.__cause__ or exc.__context__
    return None


def _of_the_system(exc: Exception) -> DataError | None:
    """What to say where the machine or a disk stopped the run, whoever was running."""
    where = exc.filename if isinstance(exc, OSError) and exc.filename else "a file"
    what = "the run stopped" if isinstance(exc, MemoryError) else f"{where} cannot be used"
    error = system_error(exc, what)
    told = isinstance(error, MachineError) or getattr(exc, "errno", None) == errno.EIO
    return error if told else None


def _culprit(exc: BaseException) -> str:
    """The plugin whose code is nearest to the place that raised, else dbtssl itself."""
    from dbtssl.plugins.component import root_package
    from dbtssl.plugins.registry import registry

    owners = {root_package(p.module): p for p in registry().plugins if p.module}
    modules = [
        frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(exc.__traceback__)
    ]
    nearest = next(
        (root for m in reversed(modules) if (root := root_package(m)) in owners), "dbtssl"
    )
    return "dbtssl" if nearest == "dbtssl" else f"plugin {owners[nearest]}"
