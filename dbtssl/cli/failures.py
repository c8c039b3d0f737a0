"""What the user sees when a command fails: one message, one next step, one exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from dbtssl.errors import DbtsslError, MachineError, system_error

if TYPE_CHECKING:
    from collections.abc import Iterator

BUG = 1  # something that is not the user's to fix
REFUSED = 2  # a user's mistake; click uses the same code for a wrong option
INTERRUPTED = 130  # 128 + SIGINT, as shells have it

_FULL = {errno.ENOSPC, errno.EDQUOT}
_SYSTEM = {
    errno.EACCES: (
        "no permission",
        "choose a folder that you may read and write, or have its rights changed",
    ),
    errno.EPERM: (
        "not permitted",
        "choose a folder that you may read and write, or have its rights changed",
    ),
    errno.EROFS: ("the file system is read-only", "choose a folder that you may write to"),
    errno.ENAMETOOLONG: (
        "the name is too long for the file system",
        "choose a shorter name or a folder nearer to the root; one name has at most 255 bytes",
    ),
}


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
        if message := _path_refused(exc) or _machine_failed(exc):
            _say(*message, debug)
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


def _path_refused(exc: BaseException | None) -> tuple[str, str] | None:
    """Message and next step, if the exception, or one that it came from, is the system's refusal of a path."""
    while exc is not None:
        if isinstance(exc, OSError) and exc.errno in _SYSTEM and exc.filename is not None:
            what, hint = _SYSTEM[exc.errno]
            name = (
                os.fsdecode(exc.filename) if isinstance(exc.filename, str | bytes) else exc.filename
            )
            shown = f"{name}"
            return f"{what}: {shown if len(shown) <= 300 else shown[:297] + '...'}", hint
        exc = exc.__cause__ or exc.__context__
    return None


def _disk_full(exc: BaseException | None) -> OSError | None:
    """The exception, or one that it came from, if it is a full disk or quota."""
    while exc is not None:
        if isinstance(exc, OSError) and exc.errno in _FULL:
            return exc
        exc = exc.__cause__ or exc.__context__
    return None


def _machine_failed(exc: Exception) -> tuple[str, str] | None:
    """Message and next step if the machine or a disk stopped the run, whatever was running."""
    where = exc.filename if isinstance(exc, OSError) and exc.filename else "a file"
    what = "the run stopped" if isinstance(exc, MemoryError) else f"{where} cannot be used"
    error = system_error(exc, what)
    if isinstance(error, MachineError) or getattr(exc, "errno", None) == errno.EIO:
        assert error is not None
        return error.message, error.hint
    return None


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
