"""Other people's code at its import: what it raises is one line, and what it changes for everybody is put back."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from dbtssl.errors import DbtsslError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class Interrupted(KeyboardInterrupt):
    """The user's own Ctrl-C while a plugin was imported; a KeyboardInterrupt of another type is the plugin's."""


@contextmanager
def apart() -> Iterator[list[str]]:
    """Run the import of a plugin; yields a list that afterwards says what was put back.

    What it prints goes to stderr, since stdout may be JSON. The working folder, filters that make an error of every
    warning, and torch's default dtype are as before: they would change the other rows. Ctrl-C raises `Interrupted`.
    """
    notes: list[str] = []
    folder, filters, dtype = _folder(), list(warnings.filters), _dtype() or "torch.float32"
    with _interruptible():
        try:
            with redirect_stdout(sys.stderr):
                yield notes
        finally:
            if folder and _folder() != folder:
                with suppress(OSError):
                    os.chdir(folder)
                notes.append("its import changed the working folder, which was put back")
            strict = [f for f in warnings.filters if f[0] == "error" and f not in filters]
            if strict:
                warnings.filters[:] = [f for f in warnings.filters if f not in strict]  # type: ignore[index]
                notes.append("its import made errors of warnings, which was undone")
            if (changed := _dtype()) not in (None, dtype):
                _reset_dtype(dtype)
                notes.append(f"its import made {changed} torch's default dtype, which was put back")


def describe(exc: BaseException) -> str:
    """What went wrong in one line: type and message; of a `DbtsslError` message and hint."""
    if isinstance(exc, DbtsslError):
        text = "; ".join(filter(None, (exc.message, exc.hint)))
    elif isinstance(exc, ValidationError):
        faults = [
            f"{'.'.join((exc.title, *map(str, e['loc'])))}: {e['msg'].removeprefix('Value error, ')}"
            for e in exc.errors(include_url=False)
        ]
        text = "; ".join(faults)
    else:
        try:
            message = str(exc)
        except Exception:  # a plugin's own exception may have a faulty __str__
            message = ""
        text = ": ".join(filter(None, (type(exc).__name__, message)))
    if not isinstance(exc, Exception):
        text += ", raised by the plugin's own code"
    return " ".join(text.split())


def say(note: str) -> None:
    """One line on stderr about a plugin that works and does something that its author should know."""
    print(f"note: {note}", file=sys.stderr, flush=True)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Tell the user's Ctrl-C from a KeyboardInterrupt that a module raises; only the main thread gets signals."""
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _folder() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # it has been deleted
        return ""


def _dtype() -> str | None:
    """Torch's default dtype as text; None while torch is not loaded."""
    torch = sys.modules.get("torch")
    get = getattr(torch, "get_default_dtype", None)  # a torch that is half imported has none yet
    return str(get()) if get else None


def _reset_dtype(before: str) -> None:
    torch = sys.modules["torch"]
    torch.set_default_dtype(getattr(torch, before.removeprefix("torch.")))
