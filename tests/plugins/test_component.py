from __future__ import annotations

import hashlib
import importlib.util
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import dbtssl
from dbtssl.errors import PluginError
from dbtssl.plugins import registry
from dbtssl.plugins.component import Component
from dbtssl.plugins.hookspec import GROUP


def component(target, module, distribution="p-pkg", version="0.1"):
    return Component("sampler", "x", target, "for a test", "p", distribution, version, module)


@pytest.fixture
def package(imported_site):
    folder = imported_site.path / "p_pkg"
    (folder / "inner").mkdir(parents=True)
    (folder / "__init__.py").write_text("", encoding="utf-8")
    (folder / "inner" / "deep.py").write_text("X = 1\n", encoding="utf-8")
    return folder


def test_the_fingerprint_is_the_hash_of_every_source_file(package):
    text = b"__init__.py\x000\x00" + b"inner/deep.py\x006\x00X = 1\n"
    expected = f"p-pkg 0.1 {hashlib.sha256(text).hexdigest()}"
    assert component("p_pkg.inner.deep:X", "p_pkg").fingerprint() == expected


def test_any_source_file_changes_it_and_other_files_do_not(package):
    before = component("p_pkg:X", "p_pkg").fingerprint()
    (package / "notes.txt").write_text("not source", encoding="utf-8")
    assert component("p_pkg:X", "p_pkg").fingerprint() == before
    (package / "inner" / "deep.py").write_text("X = 2\n", encoding="utf-8")
    changed = component("p_pkg:X", "p_pkg").fingerprint()
    (package / "inner" / "deep.py").rename(package / "inner" / "deeper.py")
    moved = component("p_pkg:X", "p_pkg").fingerprint()
    assert len({before, changed, moved}) == 3


def test_a_target_in_another_package_counts_too(package, imported_site):
    imported_site.module("p_other", "Y = 1\n")
    both = component("p_other:Y", "p_pkg").fingerprint()
    imported_site.module("p_other", "Y = 22\n")
    assert component("p_other:Y", "p_pkg").fingerprint() != both
    assert component("p_pkg:X", "p_pkg").fingerprint() != both


@pytest.mark.parametrize(
    "line", ["from p_other import Y", "import p_other.deep", "    import p_other"]
)
def test_plugins_that_it_builds_on_count_too(line, package, imported_site, monkeypatch):
    """A package that is no plugin does not: its version is in what a stage records."""
    imported_site.module("p_other", "from p_third import Z\n")
    imported_site.module("p_third", "Z = 1\n")
    (package / "inner" / "deep.py").write_text(
        f"def f():\n    pass\nif f:\n{line}\n", encoding="utf-8"
    )

    def after(third):
        imported_site.module("p_third", third)
        return component("p_pkg:X", "p_pkg").fingerprint()

    assert after("Z = 1\n") == after("Z = 22\n")
    points = [EntryPoint(name, name, GROUP) for name in ("p_other", "p_third")]
    monkeypatch.setattr("dbtssl.plugins.component.entry_points", lambda group: points)
    assert after("Z = 1\n") != after("Z = 22\n")


def test_version_and_distribution_count(package):
    one = component("p_pkg:X", "p_pkg", version="0.1").fingerprint()
    assert component("p_pkg:X", "p_pkg", version="0.2").fingerprint() != one
    assert component("p_pkg:X", "p_pkg", distribution="p-fork").fingerprint() != one


def test_a_target_that_is_nowhere_has_no_fingerprint():
    with pytest.raises(PluginError, match="no module named 'p_nowhere'"):
        component("p_nowhere:X", "dbtssl").fingerprint()


def test_the_core_has_one_too():
    fingerprint = registry().component("method", "random-init").fingerprint()
    assert fingerprint.startswith(f"dbtssl {dbtssl.__version__} ")
    assert len(fingerprint.split()[-1]) == 64


def test_of_the_core_a_component_counts_as_its_own_module():
    found = registry().component("backbone", "cnn7")
    module = importlib.util.find_spec(found.target.partition(":")[0])
    content = Path(module.origin).read_bytes()
    expected = hashlib.sha256(f"\0{len(content)}\0".encode() + content).hexdigest()
    assert found.fingerprint().split()[-1] == expected
