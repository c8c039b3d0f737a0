"""The registry that discovery fills: names to components, and one row for each plugin."""

from __future__ import annotations

import inspect
import re
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from dbtssl.errors import DbtsslError, PluginError
from dbtssl.plugins.checks import target_source as source
from dbtssl.plugins.checks.method_checks import check_method
from dbtssl.plugins.checks.structure import check_instance, check_target
from dbtssl.plugins.component import KINDS, Component
from dbtssl.plugins.foreign_code import describe, say

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dbtssl.config import Config


@cache
def registry() -> Registry:
    """The registry of this process, filled on first use; ``registry.cache_clear()`` forgets it."""
    from dbtssl.plugins.discovery import discover

    return discover()


@dataclass(frozen=True)
class PluginInfo:
    """One row of ``dbtssl plugins``; ``detail`` says why a plugin failed, ``error`` keeps the exception.

    ``notes`` are what its author should know though it works.
    """

    name: str
    distribution: str
    version: str
    status: Literal["ok", "faulty", "failed"] = "ok"
    detail: str = ""
    components: tuple[Component, ...] = ()
    module: str = ""
    error: BaseException | None = None
    notes: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """Distribution and version, for messages."""
        return f"{self.distribution} {self.version}".strip()

    def __str__(self) -> str:
        return f"{self.name} ({self.origin})" if self.origin else self.name


class Registry:
    """Components by kind and name, and the plugins that brought them."""

    def __init__(self) -> None:
        self.plugins: list[PluginInfo] = []
        self._components: dict[tuple[str, str], Component] = {}
        self._checked: set[tuple[str, str]] = set()

    def add(self, components: Iterable[Component]) -> None:
        """Add every component, or none of them; a name that is taken is a `PluginError`."""
        fresh: dict[tuple[str, str], Component] = {}
        for component in components:
            key = component.kind, component.name
            if key in fresh:
                raise PluginError(
                    f"{component.kind} {component.name!r} is registered twice by this plugin",
                    hint="remove one of the two, or give it a name of its own",
                )
            taken = self._components.get(key)
            if taken is not None:
                raise PluginError(
                    f"{component.kind} {component.name!r} is already registered by {taken.origin}",
                    hint="rename yours",
                )
            fresh[key] = component
        self._components.update(fresh)

    def names(self, kind: str) -> list[str]:
        """Sorted names of one kind."""
        self._check_kind(kind)
        return sorted(name for k, name in self._components if k == kind)

    def component(self, kind: str, name: str) -> Component:
        """The component of that name; an unknown one is a `PluginError` that suggests the nearest."""
        self._check_kind(kind)
        try:
            return self._components[kind, name]
        except KeyError:
            raise self._unknown(kind, name) from None

    def load(self, kind: str, name: str) -> Any:
        """Import the target and check its structure."""
        component = self.component(kind, name)
        target = component.resolve()
        check_target(component, target)
        if (kind, name) not in self._checked:
            self._checked.add((kind, name))
            for note in source.notes(component):
                say(f"{component}: {note}")
        if kind == "method":
            check_method(self, component, target)
        return target

    def build(self, kind: str, name: str, config: Config | Mapping[str, Any], *args: Any) -> Any:
        """Construct ``Cls(*args, config=settings)``, or ``Cls(*args, **fields)`` if it has no parameter ``config``.

        A ``config`` that is a `Config` of the component has been validated and is taken as it is: a validator that
        converts (percent to a share) would convert twice. Plain data are validated here. Raises `ConfigError` for a
        wrong key or value and `PluginError` for a constructor that raises.
        """
        from dbtssl.config import Config, config_class, validate

        component, target = self.component(kind, name), self.load(kind, name)
        expected = config_class(target)
        if isinstance(config, Config):
            if type(config) is not expected:
                raise PluginError(
                    f"{component}: got a {type(config).__qualname__}, expected its own Config, "
                    f"{expected.__qualname__}",
                    hint="validate the keys against the Config of the component that is built",
                )
            settings = config
        else:
            settings = validate(expected, config, where=f"{kind}.{name}")
        keywords = _keywords(target, settings)
        try:
            with redirect_stdout(sys.stderr):
                built = target(*args, **keywords)
        except (DbtsslError, KeyboardInterrupt):
            raise
        except BaseException as exc:
            given = [type(a).__name__ for a in args] + [f"{k}={v!r}" for k, v in keywords.items()]
            raise PluginError(
                f"{component} could not be built as {target.__name__}({', '.join(given)}): "
                f"{describe(exc)}",
                hint="a constructor takes `config`, or the fields of Config as keywords; "
                "--debug shows the traceback",
            ) from exc
        check_instance(component, built)
        return built

    def _check_kind(self, kind: str) -> None:
        if kind not in KINDS:
            raise PluginError(f"unknown kind {kind!r}", hint=f"use one of {', '.join(KINDS)}")

    def _unknown(self, kind: str, name: str) -> PluginError:
        from dbtssl.config import did_you_mean

        known = self.names(kind)
        failed = [plugin for plugin in self.plugins if plugin.status == "failed"]
        bringing = [plugin for plugin in failed if _would_bring(plugin, name)]
        message = f"no {kind} named {name!r}."
        if bringing:
            why = "; ".join(
                f"plugin {plugin} failed to load: {plugin.detail}" for plugin in bringing
            )
            return PluginError(f"{message} {why}", hint="see `dbtssl plugins`")
        message += f"{did_you_mean(name, known)} Known: {', '.join(known) or 'none'}."
        if not failed:
            return PluginError(message, hint="`dbtssl plugins` lists what is installed")
        count = "1 plugin" if len(failed) == 1 else f"{len(failed)} plugins"
        names = ", ".join(plugin.name for plugin in failed)
        return PluginError(message, hint=f"{count} failed to load ({names}); see `dbtssl plugins`")


def _keywords(target: type, settings: Config) -> dict[str, Any]:
    """What a constructor is given: ``config`` whole if it has that parameter, else each field by its name."""
    fields = {field: getattr(settings, field) for field in type(settings).model_fields}
    whole = inspect.signature(target).parameters.get("config")
    if whole is None or whole.kind is inspect.Parameter.VAR_KEYWORD or "config" in fields:
        return fields
    return {"config": settings}


def _would_bring(plugin: PluginInfo, name: str) -> bool:
    """Whether a plugin that failed has ``name`` in its source, or a name like it."""
    alike = re.sub(r"[\W_]+", "-", plugin.name).casefold() == name.casefold()
    return alike or (plugin.module != "" and source.mentions(plugin.module, name))
