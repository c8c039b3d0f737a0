"""Discovery: every plugin is loaded apart from the others, and every failure is one row.

pluggy's own ``load_setuptools_entrypoints`` stops at the first plugin that fails, drops a second plugin of one name in
silence, and accepts a misspelt hook; so each plugin gets a manager of its own here, and all of its components enter
the registry or none of them do.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import pluggy

import dbtssl
from dbtssl.config import did_you_mean
from dbtssl.errors import PluginError
from dbtssl.plugins import files
from dbtssl.plugins.component import KINDS, Component
from dbtssl.plugins.foreign_code import Interrupted, apart, describe
from dbtssl.plugins.hookspec import API_VERSION, GROUP, Specs
from dbtssl.plugins.registry import PluginInfo, Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OWN_DISTRIBUTION = "dbtssl"
CHOSEN = "DBTSSL_PLUGINS"  # only these entry points, separated by commas; empty means none

HOOK = "register_components"
ARGUMENTS = ("kind", "name", "target", "summary")

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


@dataclass(frozen=True)
class _Candidate:
    name: str
    distribution: str
    version: str
    module: str
    load: Callable[[], Any]
    file: Path | None = None  # of a plugin that is one file


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
        yield _Candidate(path.stem, str(path), "", module, _importer(module), path)


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
                f"the plugin name {candidate.name!r} is already used by {namesake.origin}",
                hint="rename the file" if candidate.file else "rename the entry point",
            )
        before = "torch" in sys.modules
        with apart() as notes:
            components = tuple(_components(candidate))
        if candidate.file is None and not before and "torch" in sys.modules:
            notes.append(
                "its import loads torch, for which every command waits; import it where the targets are"
            )
        found.add(components)
    except Interrupted:
        raise
    except (
        BaseException
    ) as exc:  # of a module that is not ours: SystemExit, KeyboardInterrupt, anything
        detail = "; ".join(filter(None, (describe(exc), _beside(candidate, exc))))
        return PluginInfo(*row, "failed", detail, module=candidate.module, error=exc)
    return PluginInfo(*row, components=components, module=candidate.module, notes=tuple(notes))


def _components(candidate: _Candidate) -> list[Component]:
    _refuse_taken_module(candidate)
    plugin = candidate.load()
    _check_version(plugin, candidate)
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Specs)
    manager.register(plugin, name=candidate.name)
    _check_hooks(manager, plugin)
    staged: list[Component] = []

    def register(*given: Any, **named: Any) -> None:
        kind, name, target, summary = _arguments(given, named)
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


def _refuse_taken_module(candidate: _Candidate) -> None:
    """A module named like one of the standard library is never imported: the library's is found first."""
    root = candidate.module.partition(".")[0]
    if candidate.file is None and root in sys.stdlib_module_names:
        raise PluginError(
            f"its module {candidate.module!r} has the name of one of Python's standard library, which is imported "
            "instead",
            hint="rename the module",
        )


def _check_hooks(manager: pluggy.PluginManager, plugin: Any) -> None:
    """Refuse a hook that dbtssl never calls, none at all, and one that cannot name anything."""
    for caller in manager.get_hookcallers(plugin) or ():
        if not caller.has_spec():
            near = did_you_mean(caller.name, [HOOK])
            raise PluginError(f"unknown hook {caller.name!r}.{near}", hint=f"the hook is {HOOK}")
    found = manager.hook.register_components.get_hookimpls()
    if not found:
        near = did_you_mean(HOOK, [name for name in vars(plugin) if name != HOOK])
        raise PluginError(f"no hook found; did you forget @hookimpl above {HOOK}?{near}")
    if "register" not in found[0].argnames:
        raise PluginError(
            f"{HOOK} takes no argument `register`, so that it can name no component",
            hint=f"write def {HOOK}(register):",
        )


def _arguments(given: tuple[Any, ...], named: dict[str, Any]) -> tuple[str, str, str, str]:
    """Kind, name, target and summary; refused where one is missing, unknown or no text."""
    form = "register(kind, name, target, summary)"
    values = dict(zip(ARGUMENTS, given, strict=False))
    unknown = [f"{name}=" for name in named if name not in ARGUMENTS or name in values]
    if len(given) > len(ARGUMENTS) or unknown:
        stray = ", ".join(unknown) or f"{len(given)} arguments"
        raise PluginError(f"register was called with {stray}, expected {form}")
    values |= named
    what = " ".join(str(values[name]) for name in ("kind", "name") if name in values) or "register"
    if missing := [name for name in ARGUMENTS if name not in values]:
        raise PluginError(f"{what}: {' and '.join(missing)} missing", hint=f"call {form}")
    for name, value in values.items():
        if not isinstance(value, str):
            more = ', a text "module:attribute", not the object itself' if name == "target" else ""
            raise PluginError(
                f"{what}: {name} is a {type(value).__name__}, expected text{more}",
                hint='write f"{__name__}:NAME"' if name == "target" else f"call {form}",
            )
    kind, name, target, summary = (values[key] for key in ARGUMENTS)
    return kind, name, target, summary


def _check_version(plugin: Any, candidate: _Candidate) -> None:
    written_for = getattr(plugin, "DBTSSL_API", None)
    if written_for is None:
        origin = getattr(plugin, "__file__", None)
        where = f" ({origin})" if origin and candidate.file is None else ""
        raise PluginError(
            f"states no DBTSSL_API; write DBTSSL_API = {API_VERSION} in its module{where}"
        )
    if type(written_for) is not int:
        raise PluginError(
            f"DBTSSL_API is {written_for!r}, a {type(written_for).__name__}, expected the integer {API_VERSION}",
            hint=f"write DBTSSL_API = {API_VERSION}",
        )
    if written_for != API_VERSION:
        raise PluginError(
            f"written for plugin API {written_for}, this dbtssl has {API_VERSION}; "
            f"upgrade {OWN_DISTRIBUTION if written_for > API_VERSION else candidate.distribution}"
        )


def _beside(candidate: _Candidate, exc: BaseException) -> str:
    """Why a module that lies beside a plugin of one file is not found."""
    if candidate.file is None or not isinstance(exc, ModuleNotFoundError) or not exc.name:
        return ""
    near = candidate.file.with_name(exc.name.partition(".")[0])
    if not near.is_dir() and not near.with_suffix(".py").is_file():
        return ""
    return (
        f"{near.name} lies beside the file, but a plugin of one file is imported alone: make a package of both and "
        "install it"
    )


def _check(kind: str, name: str, target: str, summary: str) -> None:
    if kind not in KINDS:
        near = did_you_mean(kind, KINDS)
        raise PluginError(f"unknown kind {kind!r}; use one of {', '.join(KINDS)}.{near}")
    if not _NAME.fullmatch(name):
        raise PluginError(f"{kind} name {name!r} is not kebab-case, as in metadata-pairs")
    if not _TARGET.fullmatch(target):
        head, _, tail = target.rpartition(".")
        colon = f"; did you mean {head}:{tail}?" if head and ":" not in target else ""
        raise PluginError(
            f"{kind} {name!r}: target {target!r} is not of the form module:attribute{colon}"
        )
    if not summary.strip():
        raise PluginError(f"{kind} {name!r} has no summary; give one line for the listing")
