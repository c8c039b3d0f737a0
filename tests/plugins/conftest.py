"""A site folder that distributions can be written into, as pip would."""

from __future__ import annotations

import sys
from textwrap import dedent

import pytest

HEAD = "from dbtssl.plugins import hookimpl\nDBTSSL_API = 1\n"

GOOD = (
    HEAD
    + """
@hookimpl
def register_components(register):
    register("sampler", "{name}", "{module}:Sampler", "a sampler for a test")
"""
)


class Site:
    """Writes modules and ``.dist-info`` folders below ``path``."""

    def __init__(self, path):
        self.path = path
        self.path.mkdir()

    def module(self, name, body):
        (self.path / f"{name}.py").write_text(dedent(body), encoding="utf-8")

    def distribution(self, name, entry, target, version="0.1"):
        info = self.path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(metadata, encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[dbtssl]\n{entry} = {target}\n", encoding="utf-8")

    def plugin(self, distribution, entry, body):
        """A distribution of one module; the module's name is made from the distribution's."""
        module = distribution.replace("-", "_")
        self.module(module, body)
        self.distribution(distribution, entry, module)


@pytest.fixture
def site(tmp_path):
    """A site folder that nothing imports from yet."""
    return Site(tmp_path / "site")


@pytest.fixture
def imported_site(site, monkeypatch):
    """A site folder on ``sys.path``; what was imported from it is forgotten."""
    monkeypatch.syspath_prepend(str(site.path))
    before = set(sys.modules)
    yield site
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(site.path.parent)):
            del sys.modules[name]
