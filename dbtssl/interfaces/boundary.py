"""Where a component meets the core: whatever it raises leaves as one `DbtsslError` that says whose fault it is.

The parts below the benchmark know kinds, not names: they mark an error with the kind of the component, and who knows
the row adds name, distribution and configuration, once (`dbtssl.benchmark.stages.component_errors`).
"""

from __future__ import annotations

import errno
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dbtssl.errors import ConfigError, DbtsslError, PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EIO}
"""Faults of the disk, which no component is to blame for."""
PLUGIN_FILES = "dbtssl.plugins.files."  # modules below it are plugins of one file
TRACE = "the traceback is shown by --debug before the command"


@contextmanager
def calling(component: str, doing: str, hint: str = "") -> Iterator[None]:
    """The block is code of a component: ``component`` is its kind, ``doing`` what it is asked for, with its shapes.

    A `DbtsslError` that the core raised passes as it is, marked; one of the component's own, and a `ConfigError`, which
    is of its settings, is a `PluginError` with the same message and hint. Any other exception, and a `SystemExit`, is a
    `PluginError` with ``hint``. A full disk and an interrupt pass.
    """
    try:
        yield
    except DbtsslError as exc:
        if not exc.component and _is_its_own(exc):
            raise marked(PluginError(exc.message, hint=exc.hint), component) from exc
        marked(exc, component)
        raise
    except (Exception, SystemExit) as exc:
        if isinstance(exc, OSError) and exc.errno in FULL:
            raise
        what = f"{type(exc).__name__}: {exc}".removesuffix(": ")
        raise marked(PluginError(f"{doing}: {what}", hint=hint or TRACE), component) from exc


def refused(component: str, message: str, hint: str) -> PluginError:
    """A `PluginError` of the component of that kind, to be raised."""
    error = PluginError(message, hint=hint)
    error.component = component
    return error


def marked(error: DbtsslError, component: str) -> DbtsslError:
    """``error`` as one of ``component``, unless it is one of another already."""
    error.component = error.component or component
    return error


def described(value: Any) -> str:
    """What a component gave, in words: the type, and the shape where there is one."""
    shape = getattr(value, "shape", None)
    name = type(value).__name__
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if shape is not None:
        return f"{name} of shape {tuple(shape)}"
    if isinstance(value, tuple | list | str) and len(text := repr(value)) <= 60:
        return f"{name} {text}"
    return name


def shapes(arrays: Any) -> str:
    """``16 x 1 x 64 x 64 and 16 x 1 x 32 x 32``; equal ones once."""
    found = dict.fromkeys(" x ".join(map(str, array.shape)) for array in arrays)
    return " and ".join(found)


def _is_its_own(exc: DbtsslError) -> bool:
    """Whether the error is the component's, and not the core's of the data, however deep below it was raised."""
    if isinstance(exc, PluginError):
        return False
    if isinstance(exc, ConfigError):
        return True
    frames = list(traceback.walk_tb(exc.__traceback__))
    module = str(frames[-1][0].f_globals.get("__name__", "")) if frames else ""
    inside = module == "dbtssl" or module.startswith("dbtssl.")
    return not inside or module.startswith(PLUGIN_FILES)
