"""What every test starts from: no plugin switches in the environment, and a cache folder of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dbtssl.plugins import registry

# caches move to a temporary folder below; matplotlib's font list is slow to make and may stay where it is
os.environ.setdefault("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib"))
os.environ["MPLBACKEND"] = "Agg"


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    """One user cache and configuration for the whole run, shared by xdist's workers and thrown away with it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folders = {"XDG_CACHE_HOME": shared / "cache", "XDG_CONFIG_HOME": shared / "config"}
    before = {name: os.environ.get(name) for name in folders}
    os.environ.update({name: str(folder) for name, folder in folders.items()})
    yield shared / "cache"
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture(autouse=True)
def _default_plugins(monkeypatch):
    for name in ("DBTSSL_PLUGINS", "DBTSSL_PLUGIN_FILES"):
        monkeypatch.setenv(name, "")  # so that it is removed again if the test sets it
        monkeypatch.delenv(name)
    registry.cache_clear()
    yield
    registry.cache_clear()
