"""A component as the registry knows it: a name and a target that is imported on first use."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path, PurePath
from typing import Any

from dbtssl.errors import PluginError
from dbtssl.plugins import files
from dbtssl.plugins.foreign import Interrupted, apart, describe, say
from dbtssl.plugins.hookspec import GROUP

# a word after an import or from at the beginning of a line; one in a docstring does no harm
IMPORT = re.compile(rb"^\s*(?:from|import)\s+(\w+)", re.MULTILINE)

CORE = "dbtssl"

# kind -> the interface in dbtssl.interfaces that its targets meet; a backbone is any callable
KINDS: dict[str, str | None] = {
    "sampler": "Sampler",
    "objective": "Objective",
    "finetuner": "FineTuner",
    "aggregator": "Aggregator",
    "method": "Method",
    "source": "Source",
    "backbone": None,
}


@dataclass(frozen=True)
class Component:
    """One registered name. ``plugin``, ``distribution``, ``version`` and ``module`` say who brought it."""

    kind: str
    name: str
    target: str
    summary: str
    plugin: str
    distribution: str
    version: str
    module: str

    @property
    def origin(self) -> str:
        """Distribution and version, for messages."""
        return f"{self.distribution} {self.version}".strip()

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} of {self.origin}"

    def resolve(self) -> Any:
        """Import the target; a `PluginError` names the component, its distribution and what went wrong."""
        module_name, _, attribute = self.target.partition(":")
        try:
            with apart() as changed:
                module = importlib.import_module(module_name)
        except Interrupted:
            raise
        except BaseException as exc:
            raise PluginError(
                f"{self} cannot be imported from {self.target}: {describe(exc)}",
                hint="install what it needs, or see `dbtssl plugins` for its author's mistakes",
            ) from exc
        for note in changed:
            say(f"{self}: {note}")
        try:
            return getattr(module, attribute)
        except AttributeError as exc:
            from dbtssl.config import did_you_mean

            raise PluginError(
                f"{self} cannot be imported from {self.target}: "
                f"the module has no attribute {attribute!r}.{did_you_mean(attribute, dir(module))}",
                hint="correct the target that the plugin registers",
            ) from exc

    def fingerprint(self) -> str:
        """Distribution, version and SHA-256 of the source: what a result's key must hold.

        The source is every ``.py`` file of the top-level packages of the plugin and of the target, and of the other
        plugins that these import. A plugin that is one file counts as that file alone, wherever it lies. A component of
        dbtssl itself counts as its own module: for the rest of the core the versions of the stages stand, or every
        change of a table's layout would make all results anew.
        """
        own = self.target.partition(":")[0]
        roots = {root_package(self.module), root_package(own)} - {CORE}
        if root_package(own) == CORE:
            roots.add(own)
        text = hashlib.sha256()
        for root in sorted(_with_plugins(roots)):
            for relative, path in _sources(root):
                content = path.read_bytes()
                text.update(f"{relative}\0{len(content)}\0".encode() + content)
        # of a plugin that is one file, the name; a distribution's name holds no slash
        return f"{PurePath(self.distribution).name} {self.version} {text.hexdigest()}"


def root_package(module: str) -> str:
    """The top-level package of ``module``; a plugin that is one file stands for itself."""
    return module if module.startswith(f"{files.__name__}.") else module.partition(".")[0]


def _with_plugins(roots: set[str]) -> set[str]:
    """``roots`` and all plugins' packages that their source imports, directly or through others."""
    plugins = {root_package(entry.module) for entry in entry_points(group=GROUP)}
    known: set[str] = set()
    while new := roots - known:
        known |= new
        files_ = [path for root in new for _, path in _sources(root)]
        roots = (
            known | {n.decode() for f in files_ for n in IMPORT.findall(f.read_bytes())} & plugins
        )
    return known


def _sources(root: str) -> list[tuple[str, Path]]:
    """Relative name and path of every source file of a module or package, sorted by name."""
    try:
        spec = importlib.util.find_spec(root)
    except ValueError:  # a module without a spec, such as __main__
        spec = None
    if spec is None:
        raise PluginError(f"no module named {root!r}", hint="see `dbtssl plugins`")
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    if folders:
        found = [(p.relative_to(f).as_posix(), p) for f in folders for p in f.rglob("*.py")]
        return sorted(found)
    return [("", Path(spec.origin))] if spec.has_location and spec.origin else []
