"""What the code of a component reads: its module, what this imports, and files for data.

Code is looked at, not run, so nothing heavy is imported. Of an installed library the version counts, and of those that
dbtssl itself builds on (`LIBRARIES`) nothing: all rows share them, and a table says where they differ.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dbtssl.errors import PluginError
from dbtssl.plugins.code.data_files import content_of, named_files, opened_files, relative
from dbtssl.plugins.code.locate import (
    CORE,
    LIBRARIES,
    depth_in,
    files_below,
    find,
    installed,
    is_core,
    is_plugin_file,
    library,
    modules_below,
    of_python,
    package_of,
    place_of,
    plugin_packages,
    sibling,
)
from dbtssl.plugins.code.syntax import canonical, imports, parsed, reads_itself, strings, variables

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

REGISTERS = "register_components"  # it names the components; what one of them does is elsewhere
# variables that say where a process runs, not what it computes
_PLACES = """
HOME USER LOGNAME HOSTNAME PATH PYTHONPATH TMPDIR TMP TEMP PWD RANK LOCAL_RANK WORLD_SIZE MASTER_ADDR MASTER_PORT
CUDA_VISIBLE_DEVICES OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS
"""
PLACES = frozenset(_PLACES.split())


def code_parts(roots: list[str]) -> dict[str, str]:
    """What the modules ``roots`` read, by name: hashes of modules, files and variables, versions of libraries.

    No folder is named, so that a plugin may be moved.
    """
    found = _Walk(plugin_packages() | {name.partition(".")[0] for name in roots} - {CORE})
    for root in roots:
        found.add(root)
    return dict(sorted(found.parts.items()))


def own_module(name: str) -> dict[str, str]:
    """A module alone, whatever it imports."""
    spec = find(name)
    if spec is None or not spec.origin:
        raise PluginError(f"no module named {name!r}", hint="see `dbtssl plugins`")
    tree = parsed(Path(spec.origin).read_bytes())
    assert tree is not None, "a module of dbtssl itself"
    return {f"module {name}": hashlib.sha256(canonical(tree).encode()).hexdigest()}


def code_hash(parts: dict[str, str]) -> str:
    """One hash of `code_parts`."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass
class _Walk:
    """``own`` are top-level packages that count wherever they are installed."""

    own: set[str]
    parts: dict[str, str] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)
    _packages: set[Path] = field(default_factory=set)

    def add(self, name: str, beside: Path | None = None, *, surely: bool = True) -> None:
        """A module, the packages above it, and all they import; not ``surely``: the name may be an attribute."""
        if not name or name in self._seen or is_core(name):
            return
        top = name if is_plugin_file(name) else name.partition(".")[0]
        first = find(top) or sibling(top, beside)
        place = None if first is None else place_of(first)
        if first is not None and (
            place is None or of_python(place) or self._is_library(top, place)
        ):
            self._seen.add(name)
            return
        spec = first if name == top else find(name)
        if spec is None:
            if surely:
                self.parts[f"module {name}"] = "absent"
            return
        self._seen.add(name)
        if name != top:
            self.add(name.rpartition(".")[0])
        place = place_of(spec)
        if place is not None and place.is_file():
            self._module(name, spec, place)
        elif spec.has_location:
            self.parts[f"module {_shown(name)}"] = "absent"

    def _is_library(self, top: str, place: Path) -> bool:
        """Whether the version of an installed package stands for its code; it is noted if it counts."""
        if is_plugin_file(top) or top in self.own or not installed(place):
            return False
        known = library(top)
        if known is not None and top not in LIBRARIES:
            self.parts[f"library {known[0]}"] = known[1]
        return known is not None

    def _module(self, name: str, spec: ModuleSpec, path: Path) -> None:
        content = path.read_bytes()
        tree = parsed(content) if path.suffix == ".py" else None
        if tree is None:
            self.parts[f"module {_shown(name)}"] = hashlib.sha256(content).hexdigest()
            return
        tree = ast.Module([x for x in tree.body if getattr(x, "name", "") != REGISTERS], [])
        said = content if reads_itself(tree) else canonical(tree).encode()
        self.parts[f"module {_shown(name)}"] = hashlib.sha256(said).hexdigest()
        package = None if is_plugin_file(name) else package_of(path)
        if package is not None and package not in self._packages:
            self._packages.add(package)
            for file in files_below(package):
                if file.suffix not in (".py", ".pyi"):
                    self._file(relative(file, package.parent), file)
        for opened in opened_files(name):
            self._file(f"{_shown(name)}, {relative(opened, path.parent)}", opened)
        texts = strings(tree)
        for file in named_files(texts, path):
            self._file(f"{_shown(name)}, {relative(file, path.parent)}", file)
        for variable in variables(tree) - PLACES:
            self.parts[f"variable {variable}"] = code_hash({"": os.environ.get(variable, "")})
        self._imports(name, spec, tree, path, package, texts)

    def _imports(
        self,
        name: str,
        spec: ModuleSpec,
        tree: ast.Module,
        path: Path,
        package: Path | None,
        texts: set[str],
    ) -> None:
        is_package = spec.submodule_search_locations is not None
        found, unknown = imports(tree, name if is_package else name.rpartition(".")[0])
        for one in found:
            self.add(one.module, path.parent)
            for part in one.names:
                if part != "*":
                    self.add(f"{one.module}.{part}", path.parent, surely=False)
                    continue
                for module in modules_below(one.module):
                    self.add(module)
        top = name.partition(".")[0]
        for text in texts:  # a target, or a table of modules that are loaded on first use
            module = text.partition(":")[0]
            if module.startswith(f"{top}.") and all(map(str.isidentifier, module.split("."))):
                self.add(module, surely=False)
        if unknown and package is not None:  # any of its modules may be meant
            levels = name.split(".")
            above = levels[: len(levels) - depth_in(path, package)]
            for file in files_below(package):
                if file.suffix == ".py":
                    inside = file.relative_to(package).with_suffix("").parts
                    self.add(".".join([*above, *inside]).removesuffix(".__init__"), surely=False)

    def _file(self, name: str, path: Path) -> None:
        try:
            self.parts[f"file {name}"] = content_of(path)
        except OSError:
            self.parts[f"file {name}"] = "cannot be read"


def _shown(name: str) -> str:
    """A plugin of one file is the same one in every folder; its module's name is not."""
    return "of the file" if is_plugin_file(name) else name
