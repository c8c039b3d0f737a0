"""The one hook of dbtssl: a plugin's module answers it by naming its components."""

from __future__ import annotations

from typing import Protocol

import pluggy

GROUP = "dbtssl"  # entry-point group and pluggy project name
API_VERSION = 1
"""The number of `dbtssl.api`, raised only on a break; a plugin states the one it was written for as ``DBTSSL_API``."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)
"""Marks the function ``register_components`` of a plugin's module as the one that dbtssl calls."""


class Register(Protocol):
    """What a plugin is handed to name its components with."""

    def __call__(self, kind: str, name: str, target: str, summary: str) -> None:
        """Name one component.

        ``kind`` is one of ``dbtssl.plugins.KINDS``, ``name`` is kebab-case, ``target`` is ``"module:attribute"``,
        imported on first use, and ``summary`` is one line for the listing.
        """
        ...


class Specs:
    """The hooks that dbtssl calls."""

    @hookspec
    def register_components(self, register: Register) -> None:
        """Call ``register(kind, name, target, summary)`` once for each component."""
