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
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

ENVIRONMENT = "DBTSSL_PLUGIN_FILES"  # paths, separated as PATH is

__path__: list[str] = []  # a package to the import system: it may have submodules


def plugin_files() -> list[Path]:
    """The files named by the environment, in order, each once."""
    names = os.environ.get(ENVIRONMENT, "").split(os.pathsep)
    return list(dict.fromkeys(Path(name).absolute() for name in names if name))


def add_plugin_file(path: Path) -> None:
    """Name one more file, for this process and its children."""
    os.environ[ENVIRONMENT] = os.pathsep.join(map(str, [*plugin_files(), path.absolute()]))


def module_name(path: Path) -> str:
    """The module that ``path`` is imported as; two files of one name in two folders differ."""
    stem = re.sub(r"\W", "_", path.stem)
    return f"{__name__}.{stem}_{hashlib.sha256(bytes(path)).hexdigest()[:8]}"


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{__name__}."):
            return None
        file = next((f for f in plugin_files() if module_name(f) == fullname), None)
        return spec_from_file_location(fullname, file) if file else None


sys.meta_path.append(_Finder())
