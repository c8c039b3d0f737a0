"""Single files as plugins: ``--plugin FILE.py`` and the environment variable that child processes inherit.

A file is imported as a module below this one, found through `ENVIRONMENT`. A worker process that unpickles an object of
such a module imports this parent first, and so finds the file again.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

from dbtssl.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

ENVIRONMENT = "DBTSSL_PLUGIN_FILES"  # paths, separated as PATH is

WRITES = os.O_WRONLY | os.O_RDWR

__path__: list[str] = []  # a package to the import system: it may have submodules


def plugin_files() -> list[Path]:
    """The files named by the environment, in order, each once."""
    names = os.environ.get(ENVIRONMENT, "").split(os.pathsep)
    return list(dict.fromkeys(Path(name).absolute() for name in names if name))


def add_plugin_file(path: Path) -> None:
    """Name one more file, for this process and its children; `PluginError` for a name that cannot be a plugin's."""
    if path.suffix != ".py":
        raise PluginError(
            f"{path}: got a file that is not named *.py, expected a Python module",
            hint=f"rename it to {path.stem or 'my_plugin'}.py",
        )
    if os.pathsep in str(path.absolute()):
        raise PluginError(
            f"{path.absolute()}: the path has a {os.pathsep!r}, which separates the paths of {ENVIRONMENT}",
            hint="rename the file or its folder",
        )
    os.environ[ENVIRONMENT] = os.pathsep.join(map(str, [*plugin_files(), path.absolute()]))


def module_name(path: Path) -> str:
    """The module that ``path`` is imported as, an identifier; two files of one name in two folders differ."""
    stem = re.sub(r"\W", "_", path.stem)
    stem = f"_{stem}" if stem[:1].isdigit() else stem
    return f"{__name__}.{stem}_{hashlib.sha256(bytes(path)).hexdigest()[:8]}"


def opened(module: str) -> tuple[tuple[Path, tuple[str, ...]], ...]:
    """Files that were opened for reading while ``module`` was imported, each with the source files that called."""
    return tuple(_opened.get(module, {}).items())


_opened: dict[str, dict[Path, tuple[str, ...]]] = {}
_loading: list[str] = []


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook, which cannot be removed: it looks at nothing unless a plugin's file is being imported."""
    if not _loading or event != "open":
        return
    name, _, flags = arguments
    if not isinstance(name, str | bytes) or (isinstance(flags, int) and flags & WRITES):
        return
    callers = []
    frame = sys._getframe(1) if hasattr(sys, "_getframe") else None
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        callers.append(frame.f_code.co_filename)
        frame = frame.f_back
    _opened[_loading[-1]].setdefault(Path(os.fsdecode(name)).absolute(), tuple(callers))


class _Loader(SourceFileLoader):
    """Remembers the files that a plugin reads while it is imported: they decide what it does, as its code does."""

    def exec_module(self, module: ModuleType) -> None:
        if not _opened:
            sys.addaudithook(_listen)
        _opened[module.__name__] = {}
        _loading.append(module.__name__)
        try:
            super().exec_module(module)
        finally:
            _loading.pop()


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{__name__}."):
            return None
        file = next((f for f in plugin_files() if module_name(f) == fullname), None)
        if file is None:
            return None
        return spec_from_file_location(fullname, file, loader=_Loader(fullname, str(file)))


sys.meta_path.append(_Finder())
