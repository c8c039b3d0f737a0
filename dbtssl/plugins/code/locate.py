"""Where the modules of a component are, found without importing them, and whose they are."""

from __future__ import annotations

import os
import sys
import sysconfig
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, distribution, entry_points, version
from importlib.metadata import packages_distributions as distributions
from pathlib import Path
from typing import TYPE_CHECKING

from dbtssl.plugins import files
from dbtssl.plugins.hookspec import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable

CORE = "dbtssl"
_LIBRARIES = """
torch torchvision lightly timm pytorch_lightning lightning_fabric lightning pydicom pylibjpeg openjpeg PIL blosc2
pyarrow numpy scipy sklearn skimage pydantic pydantic_core click rich_click rich pluggy typing_extensions platformdirs
filelock safetensors matplotlib mpl_toolkits jinja2
"""
LIBRARIES = frozenset(_LIBRARIES.split())  # those of dbtssl itself


def find(name: str) -> ModuleSpec | None:
    """The specification of a module, found without importing its parents; None where there is none."""
    spec: ModuleSpec | None = getattr(sys.modules.get(name), "__spec__", None)
    if spec is not None:
        return spec
    parent = name.rpartition(".")[0]
    above = find(parent) if parent else None
    if parent and (above is None or above.submodule_search_locations is None):
        return None
    path = None if above is None else above.submodule_search_locations
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, path)
        except KeyError:  # a folder without __init__.py, in a package that is not imported
            return _folder(name, path or ())
        except (ImportError, ValueError, AttributeError, OSError):
            continue
        if spec is not None:
            return spec
    return None


def _folder(name: str, path: Iterable[str]) -> ModuleSpec | None:
    spec = ModuleSpec(name, None, is_package=True)
    last = name.rpartition(".")[2]
    spec.submodule_search_locations = [str(p) for f in path if (p := Path(f, last)).is_dir()]
    return spec if spec.submodule_search_locations else None


def sibling(name: str, beside: Path | None) -> ModuleSpec | None:
    """A module in the folder of the one that imports it, which that may have put on the path."""
    return None if beside is None or "." in name else PathFinder.find_spec(name, [str(beside)])


def place_of(spec: ModuleSpec) -> Path | None:
    """The file of a module, or a folder of a package without one; None for what is built in."""
    if spec.has_location and spec.origin:
        return Path(spec.origin)
    locations = list(spec.submodule_search_locations or ())
    return Path(locations[0]) if locations else None


def installed(place: Path) -> bool:
    """Whether something lies where packages are installed; an editable installation does not."""
    return bool({"site-packages", "dist-packages"} & set(place.parts))


def of_python(place: Path) -> bool:
    """Whether something belongs to Python's standard library."""
    folders = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    folders.add(str(Path(os.__file__).parent))
    return any(place.is_relative_to(f) for f in folders) and not installed(place)


@cache
def plugin_packages() -> set[str]:
    """The top-level packages of all plugins that are installed: a plugin may build on another."""
    return {
        entry.value.partition(":")[0].partition(".")[0].strip()
        for entry in entry_points(group=GROUP)
    }


@cache
def library(top: str) -> tuple[str, str] | None:
    """Distribution and version of an installed package; None where these do not say what its code is.

    That is so of a package that no distribution knows, of a plugin's own, and of one that was installed from a folder
    or a repository, which may change under one version.
    """
    if top in LIBRARIES:
        return top, ""
    names = distributions().get(top, [])
    if not names or {e.dist.name for e in entry_points(group=GROUP) if e.dist} & set(names):
        return None
    try:
        if distribution(names[0]).read_text("direct_url.json"):
            return None
        return names[0], version(names[0])
    except PackageNotFoundError:
        return None


def package_of(path: Path) -> Path | None:
    """The outermost package that the module in ``path`` belongs to; None for a module that stands alone."""
    folder, found = path.parent, None
    while (folder / "__init__.py").is_file():
        found, folder = folder, folder.parent
    return found


def depth_in(path: Path, package: Path) -> int:
    """How many folders below the outermost package a module lies; a package's own file counts as its folder."""
    inside = len(path.relative_to(package).parts)
    return inside - 1 if path.name == "__init__.py" else inside


def modules_below(package: str) -> list[str]:
    """The modules right below a package, which ``import *`` may bring."""
    spec = find(package)
    folders = [Path(f) for f in (spec.submodule_search_locations or ())] if spec else []
    return [f"{package}.{p.stem}" for f in folders for p in sorted(f.glob("[!_]*.py"))]


def files_below(folder: Path) -> list[Path]:
    """The files below ``folder``, without hidden ones, compiled ones and an editor's copies."""
    found = []
    for here, below, names in os.walk(folder):
        below[:] = sorted(d for d in below if not d.startswith(".") and d != "__pycache__")
        found += [
            Path(here, n)
            for n in sorted(names)
            if not n.startswith(".") and not n.endswith(("~", ".pyc", ".pyo"))
        ]
    return found


def is_plugin_file(name: str) -> bool:
    """Whether the module is a plugin of one file."""
    return name.startswith(f"{files.__name__}.")


def is_core(name: str) -> bool:
    """Whether a module is one of dbtssl itself."""
    return name.partition(".")[0] == CORE and not is_plugin_file(name)
