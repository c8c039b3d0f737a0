"""Plugins: one hook that fills one registry. The rest of the code knows the registry alone."""

from __future__ import annotations

from dbtssl.plugins.component import KINDS, Component
from dbtssl.plugins.files import add_plugin_file
from dbtssl.plugins.hookspec import API_VERSION, Register, hookimpl
from dbtssl.plugins.registry import PluginInfo, Registry, registry

__all__ = [
    "API_VERSION",
    "KINDS",
    "Component",
    "PluginInfo",
    "Register",
    "Registry",
    "add_plugin_file",
    "hookimpl",
    "registry",
]
