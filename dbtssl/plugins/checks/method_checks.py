"""What a method names, checked against all that is registered: components, keys of every preset, its paper's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from dbtssl.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtssl.interfaces import Method
    from dbtssl.plugins.component import Component
    from dbtssl.plugins.registry import Registry

# table of a preset, field with the component's name, field with its keys, kind
TABLES = (
    ("objective", "objective", "objective_config", "objective"),
    ("sampler", "sampler", "sampler_config", "sampler"),
    ("finetuner", "finetuner", "finetuner_config", "finetuner"),
)


def check_method(registry: Registry, component: Component, method: Method) -> None:
    """Refuse, all at once, what the method names and nobody registers, and keys that their Configs do not have.

    Presets that no row has asked for are checked as well. A component that cannot be imported is left to the row that
    needs it.
    """
    faults = [*_keys(registry, method), *_rows(registry, method)]
    if faults:
        raise PluginError(
            f"{component} ({component.target}):\n" + "\n".join(f"  {fault}" for fault in faults),
            hint="the method's author must correct it; `dbtssl plugins` lists the components that there are",
        )


def _keys(registry: Registry, method: Method) -> Iterator[str]:
    from dbtssl.config import config_class, validate

    for table, names, keys, kind in TABLES:
        name = getattr(method, names)
        if name is None:
            continue
        try:
            registry.component(kind, name)
        except PluginError as exc:
            yield f"{names}: {exc.message}"
            continue
        try:
            config = config_class(registry.load(kind, name))
        except PluginError:
            continue
        own = getattr(method, keys)
        layers = {keys: own} | {
            f"presets.{preset}.{table}": own | changes[table]
            for preset, changes in method.presets.items()
            if table in changes
        }
        for where, given in layers.items():
            try:
                validate(config, given, where)
            except ConfigError as exc:
                yield from (line.strip() for line in exc.message.splitlines()[1:])


def _rows(registry: Registry, method: Method) -> Iterator[str]:
    """Words in the paper's rows that ours can never have."""
    from dbtssl.config import did_you_mean

    if not method.reported:
        return
    strategies = _strategies(registry, method.finetuner) | set(registry.names("finetuner"))
    for i, row in enumerate(method.reported):
        if row.finetuner not in strategies and strategies:
            near = did_you_mean(row.finetuner, strategies)
            yield f"reported.{i}.finetuner: unknown {row.finetuner!r}.{near} Known: {', '.join(sorted(strategies))}"
        if near := _unknown_backbone(registry, row.backbone):
            yield f"reported.{i}.backbone: {near}"


def _strategies(registry: Registry, finetuner: str) -> set[str]:
    """The words of the fine-tuner's field ``strategy``, which a row of the table is named by."""
    from dbtssl.config import config_class

    try:
        fields = config_class(registry.load("finetuner", finetuner)).model_fields
    except PluginError:
        return set()
    return set(map(str, get_args(fields["strategy"].annotation))) if "strategy" in fields else set()


def _unknown_backbone(registry: Registry, name: str) -> str:
    import timm  # brings torch, as every row does

    from dbtssl.config import did_you_mean

    known = registry.names("backbone")
    if name in known or timm.is_model(name):
        return ""
    return f"unknown {name!r}.{did_you_mean(name, [*known, *timm.list_models()])}"
