from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from dbtssl.errors import PluginError
from dbtssl.plugins import registry

from .broken import BROKEN, hook


def row(distribution):
    (found,) = [p for p in registry().plugins if p.distribution == distribution]
    return found


@pytest.mark.parametrize("distribution", BROKEN)
def test_a_broken_plugin_is_one_row_that_says_why(distribution, imported_site):
    entry, body, words = BROKEN[distribution]
    imported_site.plugin(distribution, entry, body)
    failed = row(distribution)
    assert (failed.name, failed.version, failed.status) == (entry, "0.1", "failed")
    assert failed.components == ()
    assert "\n" not in failed.detail
    for word in words:
        assert word in failed.detail
    assert registry().component("method", "random-init").distribution == "dbtssl"
    assert "fresh" not in registry().names("sampler"), "half of a plugin was left behind"


def test_all_broken_at_once_leave_the_command_line_alive(site):
    for distribution, (entry, body, _) in BROKEN.items():
        site.plugin(distribution, entry, body)
    site.plugin("p-good", "good", hook("register('sampler', 'good', 'p_good:S', 'works')"))
    code = (
        "import sys\n"
        "from dbtssl.cli.main import main\n"
        "try: main(['plugins', '--json'])\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)\n"
    )
    path = os.pathsep.join([str(site.path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "False\n")
    rows = {plugin["distribution"]: plugin for plugin in json.loads(done.stdout)}
    for distribution in BROKEN:
        assert rows[distribution]["status"] == "failed", distribution
    assert rows["p-good"]["status"] == "ok"
    assert rows["p-good"]["components"] == [{"kind": "sampler", "name": "good", "summary": "works"}]


def test_own_distribution_comes_before_the_alphabet(imported_site):
    own = {p.name: p.module for p in registry().plugins if p.distribution == "dbtssl"}
    registry.cache_clear()
    imported_site.plugin("a-first", "moco", hook())
    assert row("a-first").status == "failed"
    assert {p.name: p.module for p in registry().plugins if p.distribution == "dbtssl"} == own


def test_a_module_shipped_twice_is_one_plugin(imported_site):
    imported_site.plugin("p-one", "once", hook("register('sampler', 'one', 'p_one:S', 'one')"))
    imported_site.distribution("p-two", "once", "p_one")
    assert [p.distribution for p in registry().plugins if p.name == "once"] == ["p-one"]
    assert row("p-one").status == "ok"


def test_metadata_without_name_and_version_are_no_reason_to_stop(imported_site):
    imported_site.plugin("p-bare", "bare", hook())
    (imported_site.path / "p_bare-0.1.dist-info" / "METADATA").unlink()
    found = next(p for p in registry().plugins if p.name == "bare")
    assert (found.distribution, found.version, found.status) == ("unknown", "", "ok")


@pytest.mark.parametrize("target", ["", "not a module!", "p_none:", ":attribute"])
def test_a_malformed_entry_point_is_a_failed_row(target, imported_site):
    imported_site.distribution("p-malformed", "malformed", target)
    assert row("p-malformed").status == "failed"


def test_only_the_chosen_plugins_are_loaded_and_the_core_always(imported_site, monkeypatch):
    imported_site.plugin("p-a", "a", hook())
    imported_site.plugin("p-b", "b", hook())
    monkeypatch.setenv("DBTSSL_PLUGINS", " b ,")
    assert [p.name for p in registry().plugins] == ["core", "b"]
    registry.cache_clear()
    monkeypatch.setenv("DBTSSL_PLUGINS", "")
    assert [p.name for p in registry().plugins] == ["core"]


def test_a_chosen_plugin_that_is_not_installed_is_a_failed_row(monkeypatch):
    monkeypatch.setenv("DBTSSL_PLUGINS", "no-such-plugin")
    absent = registry().plugins[-1]
    assert (absent.name, absent.status) == ("no-such-plugin", "failed")
    assert "DBTSSL_PLUGINS names 'no-such-plugin'" in absent.detail
    with pytest.raises(PluginError, match=r"1 plugin failed to load \(no-such-plugin\)"):
        registry().component("sampler", "x")


def test_every_installed_plugin_loads_and_every_target_fits_its_kind():
    found = registry()
    own = [p for p in found.plugins if p.distribution == "dbtssl"]
    assert {p.name for p in own} >= {"core", "moco", "sift_dbt"}
    assert [(p.name, p.detail) for p in own if p.status == "failed"] == []
    for plugin in own:
        for component in plugin.components:
            assert found.load(component.kind, component.name) is not None
