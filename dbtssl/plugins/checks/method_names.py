"""What the source of a method names as plain text and nobody has: components, and backbones of its paper's rows."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dbtssl.config import did_you_mean
from dbtssl.plugins.checks.target_source import find_module, notes, problem, tree_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtssl.plugins.component import Component
    from dbtssl.plugins.registry import PluginInfo, Registry

NAMED = ("objective", "sampler", "finetuner")  # keywords of Method that are kinds as well
MODEL = re.compile(r"^@register_model\s*\ndef (\w+)", re.MULTILINE)


def unknown_names(registry: Registry, component: Component) -> Iterator[str]:
    """A sentence for each name that stands in the source as a text; what is computed is checked when a row asks.

    Nothing is imported, so that `dbtssl plugins` can tell before the method is used.
    """
    module, _, attribute = component.target.partition(":")
    spec = find_module(module)
    tree = None if spec is None else tree_of(spec)
    if tree is None:
        return
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == attribute for target in node.targets
        ):
            given = _texts(node.value, "Method")
            for kind in NAMED:
                if kind in given and given[kind] not in (known := registry.names(kind)):
                    near = did_you_mean(given[kind], known)
                    yield f"{kind}: no {kind} named {given[kind]!r}.{near}"
    for inner in ast.walk(tree):
        backbone = _texts(inner, "Reported").get("backbone")
        known = registry.names("backbone")
        if backbone is not None and backbone not in known:
            models = timm_models()
            if models and backbone.partition(".")[0] not in models:
                near = did_you_mean(backbone, [*known, *models])
                yield f"reported: no backbone named {backbone!r}.{near}"


def inspected(registry: Registry, plugin: PluginInfo) -> PluginInfo:
    """The row of a plugin with what the source of its targets tells; ``faulty`` where a target cannot be used."""
    faults: list[str] = []
    found = list(plugin.notes)
    for component in plugin.components:
        fault = problem(component)
        wrong = [fault] if fault else []
        if component.kind == "method":
            wrong += unknown_names(registry, component)
        who = f"{component.kind} {component.name!r}"
        faults += [f"{who}: {what}" for what in wrong]
        found += [f"{who}: {note}" for note in notes(component)]
    if not faults:
        return replace(plugin, notes=tuple(found))
    return replace(plugin, notes=tuple(found), status="faulty", detail="; ".join(faults))


@cache
def timm_models() -> frozenset[str]:
    """The names of timm's models from its source, since importing it takes seconds; empty where that is not there."""
    spec = find_module("timm.models")
    folders = (spec and spec.submodule_search_locations) or ()
    files = [path for folder in folders for path in sorted(Path(folder).glob("*.py"))]
    return frozenset(n for f in files for n in MODEL.findall(f.read_text(encoding="utf-8")))


def _texts(node: ast.AST, called: str) -> dict[str, str]:
    """The keywords with a plain text of a call of ``called``."""
    if not isinstance(node, ast.Call) or ast.unparse(node.func).rpartition(".")[2] != called:
        return {}
    return {
        k.arg: k.value.value
        for k in node.keywords
        if k.arg and isinstance(k.value, ast.Constant) and isinstance(k.value.value, str)
    }
