"""A component as the registry knows it: a name and a target that is imported on first use."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Any

from dbtssl.errors import PluginError
from dbtssl.plugins import files
from dbtssl.plugins.code.dependencies import code_hash, code_parts, own_module
from dbtssl.plugins.code.locate import find, is_core
from dbtssl.plugins.foreign_code import Interrupted, apart, describe, say

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
        """Distribution, version and code: what a result's key must hold."""
        return f"{self.distribution_name} {self.version} {self.code}"

    @property
    def distribution_name(self) -> str:
        """The distribution; of a plugin that is one file its name without the folder."""
        return PurePath(self.distribution).name  # a distribution's name holds no slash

    @cached_property
    def code(self) -> str:
        """SHA-256 of what the component's code reads, as it was when this was asked first.

        That is the module of the target with all that it imports outside the installed libraries, and the files that it
        takes data from; not the other modules of its package. Later changes of the files are not those of the code that
        this process has imported. A component of dbtssl itself counts as its own module: for the rest of the core the
        versions of the stages stand, or every change of a table's layout would make all results again.
        """
        module, _, attribute = self.target.partition(":")
        roots = [m for m in dict.fromkeys((self.module, module)) if not is_core(m)]
        parts = code_parts(roots) | {"target": attribute}
        if is_core(module):
            parts |= own_module(module)
        elif find(module) is None:
            raise PluginError(f"no module named {module!r}", hint="see `dbtssl plugins`")
        return code_hash(parts)


def root_package(module: str) -> str:
    """The top-level package of ``module``; a plugin that is one file stands for itself."""
    return module if module.startswith(f"{files.__name__}.") else module.partition(".")[0]
