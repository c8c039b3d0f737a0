"""Discovery: every plugin is loaded apart from the others, and every failure is one row.

pluggy's own ``load_setuptools_entrypoints`` stops at the first plugin that fails, drops a second plugin of one name in
silence, and accepts a misspelt hook; so each plugin gets a manager of its own here, and all of its components enter
the registry or none of them do.
"""

from __future__ import annotations

import importlib
import os
import re
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import pluggy

import dbtssl
from dbtssl.errors import PluginError
from dbtssl.plugins import files
from dbtssl.plugins.component import KINDS, Component
from dbtssl.plugins.hookspec import API_VERSION, GROUP, Specs
from dbtssl.plugins.registry import PluginInfo, Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OWN_DISTRIBUTION = "dbtssl"
CHOSEN = "DBTSSL_PLUGINS"  # only these entry points, separated by commas; empty means none

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


@dataclass(frozen=True)
class _Candidate:
    name: str
    distribution: str
    version: str
    module: str
    load: Callable[[], Any]


def discover() -> Registry:
    """Load the core and every plugin that is installed or named; nothing raises."""
    found = Registry()
    for candidate in _candidates():
        found.plugins.append(_enter(found, candidate))
    return found


def _candidates() -> Iterator[_Candidate]:
    """The core, then entry points with the project's own distribution first, then single files."""
    yield _Candidate(
        "core", OWN_DISTRIBUTION, dbtssl.__version__, "dbtssl.builtin", _importer("dbtssl.builtin")
    )
    yield from _installed()
    for path in files.plugin_files():
        module = files.module_name(path)
        yield _Candidate(path.stem, str(path), "", module, _importer(module))


def _installed() -> Iterator[_Candidate]:
    chosen = os.environ.get(CHOSEN)
    wanted = None if chosen is None else {n.strip() for n in chosen.split(",")} - {""}
    seen: set[tuple[str, str]] = set()
    # own distribution first: the alphabet must not let a third party take a name of the project
    for point in sorted(entry_points(group=GROUP), key=_order):
        if wanted is not None and point.name not in wanted:
            continue
        if (point.name, point.value) in seen:  # one module shipped in the bundle and on its own
            continue
        seen.add((point.name, point.value))
        module = re.split(r"[\s:\[]", point.value)[
            0
        ]  # `point.module` raises where the value is malformed
        yield _Candidate(point.name, *_distribution(point), module, point.load)
    for name in sorted((wanted or set()) - {name for name, _ in seen}):
        yield _Candidate(name, "", "", "", _absent(name))


def _order(point: EntryPoint) -> tuple[bool, str, str]:
    distribution, _ = _distribution(point)
    return distribution != OWN_DISTRIBUTION, point.name, distribution


def _distribution(point: EntryPoint) -> tuple[str, str]:
    """Name and version; metadata that lack them are no reason to stop."""
    if point.dist is None:
        return "unknown", ""
    metadata = point.dist.metadata.json
    return str(metadata.get("name", "unknown")), str(metadata.get("version", ""))


def _importer(module: str) -> Callable[[], Any]:
    return lambda: importlib.import_module(module)


def _absent(name: str) -> Callable[[], Any]:
    def load() -> Any:
        raise PluginError(f"{CHOSEN} names {name!r}, which no installed distribution provides")

    return load


def _enter(found: Registry, candidate: _Candidate) -> PluginInfo:
    """Load one plugin into the registry; the row says how it went."""
    row = candidate.name, candidate.distribution, candidate.version
    try:
        namesake = next((p for p in found.plugins if p.name == candidate.name), None)
        if namesake is not None:
            raise PluginError(
                f"the plugin name {candidate.name!r} is already used by {namesake.origin}"
            )
        components = tuple(_components(candidate))
        found.add(components)
    except (Exception, SystemExit) as exc:
        return PluginInfo(*row, "failed", _detail(exc), module=candidate.module, error=exc)
    return PluginInfo(*row, components=components, module=candidate.module)


def _components(candidate: _Candidate) -> list[Component]:
    plugin = candidate.load()
    _check_version(plugin, candidate)
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Specs)
    manager.register(plugin, name=candidate.name)
    manager.check_pending()  # without this a misspelt hook is accepted in silence
    if not manager.hook.register_components.get_hookimpls():
        raise PluginError("no hook found; did you forget @hookimpl above register_components?")
    staged: list[Component] = []

    def register(kind: str, name: str, target: str, summary: str) -> None:
        _check(kind, name, target, summary)
        staged.append(
            Component(
                kind,
                name,
                target,
                summary.strip(),
                plugin=candidate.name,
                distribution=candidate.distribution,
                version=candidate.version,
                module=candidate.module,
            )
        )

    manager.hook.register_components(register=register)
    return staged


def _check_version(plugin: Any, candidate: _Candidate) -> None:
    written_for = getattr(plugin, "DBTSSL_API", None)
    if written_for is None:
        raise PluginError(f"states no DBTSSL_API; write DBTSSL_API = {API_VERSION} in its module")
    if written_for != API_VERSION:
        newer = isinstance(written_for, int) and written_for > API_VERSION
        raise PluginError(
            f"written for plugin API {written_for}, this dbtssl has {API_VERSION}; "
            f"upgrade {OWN_DISTRIBUTION if newer else candidate.distribution}"
        )


def _check(kind: str, name: str, target: str, summary: str) -> None:
    if kind not in KINDS:
        raise PluginError(f"unknown kind {kind!r}; use one of {', '.join(KINDS)}")
    if not _NAME.fullmatch(name):
        raise PluginError(f"{kind} name {name!r} is not kebab-case, as in metadata-pairs")
    if not _TARGET.fullmatch(target):
        raise PluginError(f"{kind} {name!r}: target {target!r} is not of the form module:attribute")
    if not summary.strip():
        raise PluginError(f"{kind} {name!r} has no summary; give one line for the listing")


def _detail(exc: BaseException) -> str:
    """One line; a plugin's own exception keeps its type's name."""
    if isinstance(exc, PluginError):
        text = "; ".join(filter(None, (exc.message, exc.hint)))
    else:
        text = f"{type(exc).__name__}: {exc}"
    return " ".join(text.split())
