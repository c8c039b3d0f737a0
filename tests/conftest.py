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
    """One user cache for the whole run, shared by xdist's workers and thrown away with it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(shared / "cache")
    yield shared / "cache"
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(autouse=True)
def _default_plugins(monkeypatch):
    for name in ("DBTSSL_PLUGINS", "DBTSSL_PLUGIN_FILES"):
        monkeypatch.setenv(name, "")  # so that it is removed again if the test sets it
        monkeypatch.delenv(name)
    registry.cache_clear()
    yield
    registry.cache_clear()
