"""The registry that the door fills: names to components, and one row for each plugin."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from dbtssl.errors import DbtsslError, PluginError
from dbtssl.plugins.component import KINDS, Component
from dbtssl.plugins.structure import check_instance, check_target

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
    """One row of ``dbtssl plugins``; ``detail`` says why a plugin failed, ``error`` keeps the exception."""

    name: str
    distribution: str
    version: str
    status: Literal["ok", "failed"] = "ok"
    detail: str = ""
    components: tuple[Component, ...] = ()
    module: str = ""
    error: BaseException | None = None

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

    def add(self, components: Iterable[Component]) -> None:
        """Add every component, or none of them; a name that is taken is a `PluginError`."""
        fresh: dict[tuple[str, str], Component] = {}
        for component in components:
            key = component.kind, component.name
            taken = self._components.get(key) or fresh.get(key)
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
        return target

    def build(self, kind: str, name: str, config: Config | Mapping[str, Any], *args: Any) -> Any:
        """Construct ``Cls(*args, **fields)``; no config object travels into the class.

        A ``config`` that is a `Config` of the component has been validated and is taken as it is: a validator that
        converts (percent to a share) would convert twice. Plain data are validated here. Raises `ConfigError` for a
        wrong key or value and `PluginError` for a constructor that raises.
        """
        from dbtssl.config import Config, validate

        component, target = self.component(kind, name), self.load(kind, name)
        if isinstance(config, Config):
            if type(config) is not target.Config:
                raise PluginError(
                    f"{component}: got a {type(config).__qualname__}, expected its own Config, "
                    f"{target.Config.__qualname__}",
                    hint="validate the keys against the Config of the component that is built",
                )
            settings = config
        else:
            settings = validate(target.Config, config, where=f"{kind}.{name}")
        fields = {field: getattr(settings, field) for field in type(settings).model_fields}
        try:
            built = target(*args, **fields)
        except DbtsslError:
            raise
        except Exception as exc:
            given = [type(a).__name__ for a in args] + [f"{k}={v!r}" for k, v in fields.items()]
            raise PluginError(
                f"{component} could not be built as {target.__name__}({', '.join(given)}): "
                f"{type(exc).__name__}: {exc}",
                hint="the fields of Config are the constructor's keywords; --debug shows the traceback",
            ) from exc
        check_instance(component, built)
        return built

    def _check_kind(self, kind: str) -> None:
        if kind not in KINDS:
            raise PluginError(f"unknown kind {kind!r}", hint=f"use one of {', '.join(KINDS)}")

    def _unknown(self, kind: str, name: str) -> PluginError:
        from dbtssl.config import did_you_mean

        known = self.names(kind)
        failed = [plugin.name for plugin in self.plugins if plugin.status == "failed"]
        count = "1 plugin" if len(failed) == 1 else f"{len(failed)} plugins"
        return PluginError(
            f"no {kind} named {name!r}.{did_you_mean(name, known)} Known: {', '.join(known) or 'none'}.",
            hint=f"{count} failed to load ({', '.join(failed)}); see `dbtssl plugins`"
            if failed
            else "`dbtssl plugins` lists what is installed",
        )
