"""Does a target look like its kind? Names are compared with the protocol; the conformance kit tries the behaviour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import get_protocol_members

from dbtssl.errors import PluginError
from dbtssl.interfaces.abilities import ABILITIES, Trainable
from dbtssl.plugins.component import KINDS

if TYPE_CHECKING:
    from dbtssl.plugins.component import Component


def check_target(component: Component, target: Any) -> None:
    """Refuse an imported target that lacks what its kind needs, and say what is missing."""
    interface = KINDS[component.kind]
    if interface is None:
        if not callable(target):
            raise _refuse(component, f"got {target!r}, expected a callable")
    elif interface == "Method":
        from dbtssl.interfaces import Method

        if not isinstance(target, Method):
            raise _refuse(component, f"got {target!r}, expected a dbtssl.api.Method")
    elif not isinstance(target, type):
        raise _refuse(component, f"got {target!r}, expected a class")
    else:
        _check_class(component, target, interface)


def check_instance(component: Component, instance: object) -> None:
    """Refuse a built component that lacks an attribute of its protocol."""
    members = get_protocol_members(_protocol(KINDS[component.kind]))
    missing = sorted(name for name in members if not hasattr(instance, name))
    if missing:
        raise _refuse(component, f"an instance has no {' and no '.join(missing)}")


def _check_class(component: Component, target: type, interface: str) -> None:
    from dbtssl.config import Config, config_class, did_you_mean

    protocol = _protocol(interface)
    missing = [
        f"{name}()" if callable(getattr(protocol, name, None)) else name
        for name in sorted(get_protocol_members(protocol))
        if _on_class(protocol, name) and not _has(target, name)
    ]
    if missing:
        own = {name for base in target.__mro__ for name in vars(base) if not name.startswith("_")}
        near = "".join(did_you_mean(name.removesuffix("()"), own) for name in missing)
        what = f"class {target.__name__} has no {' and no '.join(missing)}"
        raise _refuse(component, f"{what}.{near}" if near else what)
    config = config_class(target)
    if not (isinstance(config, type) and issubclass(config, Config)):
        raise _refuse(
            component, f"{target.__name__}.Config must be a subclass of dbtssl.api.Config"
        )
    for name in get_protocol_members(protocol):
        if callable(getattr(protocol, name, None)) and not callable(getattr(target, name)):
            raise _refuse(component, f"{target.__name__}.{name} must be a method")
    for ability in ABILITIES[component.kind]:
        _check_ability(component, target, ability)


def _check_ability(component: Component, target: type, ability: Any) -> None:
    """A class that can do part of what belongs together would be taken for one that cannot do it at all."""
    methods = [name for name in sorted(get_protocol_members(ability)) if hasattr(ability, name)]
    found = [name for name in methods if _has(target, name)]
    for name in found:
        if not callable(getattr(target, name)):
            raise _refuse(component, f"{target.__name__}.{name} must be a method")
    if ability is Trainable and "fit" in found and found != methods:
        missing = [f"{name}()" for name in methods if name not in found]
        raise _refuse(
            component,
            f"class {target.__name__} has fit() and no {' and no '.join(missing)}, "
            "so that what it learns would be lost",
        )


def _protocol(interface: str | None) -> Any:
    from dbtssl import interfaces

    return getattr(interfaces, str(interface))


def _on_class(protocol: type, name: str) -> bool:
    """Methods and class variables are seen on the class; other attributes may be set by the constructor."""
    annotation = str(protocol.__annotations__.get(name, "ClassVar"))
    return "ClassVar" in annotation


def _has(cls: type, name: str) -> bool:
    """``hasattr`` without the metaclass, which would lend every class a ``__call__``."""
    return any(name in vars(base) for base in cls.__mro__)


def _refuse(component: Component, what: str) -> PluginError:
    return PluginError(
        f"{component} is no {component.kind}: {what} ({component.target})",
        hint="see the interfaces in dbtssl.api",
    )
