from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from dbtssl.errors import PluginError
from dbtssl.plugins import registry

from .broken import BROKEN, HEAD, hook


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
    good = hook("register('sampler', 'good', 'p_good:S', 'works')")
    site.plugin("p-good", "good", f"print('on stdout')\n{good}class S: pass\n")
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
    assert (done.returncode, done.stderr) == (0, "on stdout\nFalse\n")
    rows = {plugin["distribution"]: plugin for plugin in json.loads(done.stdout)}
    for distribution in BROKEN:
        assert rows[distribution]["status"] == "failed", distribution
    assert rows["p-good"]["status"] == "ok"
    assert rows["p-good"]["components"] == [{"kind": "sampler", "name": "good", "summary": "works"}]
    assert rows["p-good"]["notes"] == []


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


def test_a_module_named_like_one_of_the_standard_library_is_said(imported_site):
    imported_site.module("statistics", hook())
    imported_site.distribution("p-statistics", "mine", "statistics")
    assert row("p-statistics").status == "failed"
    assert "has the name of one of Python's standard library" in row("p-statistics").detail


def test_a_module_that_is_another_says_which_file_it_is(imported_site):
    imported_site.module("p_shadow", "")
    imported_site.distribution("p-shadow", "shadow", "p_shadow")
    assert str(imported_site.path / "p_shadow.py") in row("p-shadow").detail


def test_the_users_own_interrupt_ends_the_command(imported_site):
    """The module sends its process the signal that Ctrl-C sends; raised by the module itself it would be a row."""
    body = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    imported_site.plugin("p-signal", "signal", body)
    with pytest.raises(KeyboardInterrupt):
        registry()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


DISTURBING = {
    "folder": ("import os\nos.chdir('/')\n", "changed the working folder"),
    "warnings": ("import warnings\nwarnings.simplefilter('error')\n", "made errors of warnings"),
    "dtype": (
        "import torch\ntorch.set_default_dtype(torch.float64)\n",
        "made torch.float64 torch's",
    ),
}


@pytest.mark.parametrize("what", DISTURBING)
def test_what_an_import_changes_for_everybody_is_put_back_and_said(
    what, imported_site, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    body, words = DISTURBING[what]
    target = f"p_loud:S{what}"
    imported_site.plugin("p-calm", "calm", hook(f"register('sampler', 'calm', '{target}', 'x')"))
    imported_site.module("p_loud", f"{body}class S{what}: pass\n")
    imported_site.plugin("p-loud", "loud", hook(head=f"{HEAD}{body}"))

    def state():
        return (
            Path.cwd(),
            torch.get_default_dtype(),
            [f for f in warnings.filters if f[0] == "error"],
        )

    with warnings.catch_warnings():
        warnings.resetwarnings()  # pytest's own make errors of warnings
        before = state()
        found = row("p-loud")
        assert state() == before
    assert (found.status, len(found.notes)) == ("ok", 1)
    assert words in found.notes[0]
    assert row("p-calm").notes == ()


def test_a_note_about_a_target_is_said_when_it_is_imported(
    imported_site, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    imported_site.plugin("p-calm", "calm", hook("register('sampler', 'calm', 'p_loud:S', 'x')"))
    imported_site.module("p_loud", "import os\nos.chdir('/')\nprint('hello')\nS = 1\n")
    assert registry().component("sampler", "calm").resolve() == 1
    assert Path.cwd() == tmp_path
    out, err = capsys.readouterr()
    assert out == ""
    assert "hello" in err
    assert "note: sampler 'calm' of p-calm 0.1: its import changed the working folder" in err


@pytest.mark.parametrize("raised", ["SystemExit(3)", "KeyboardInterrupt", "BaseException('no')"])
def test_a_target_that_leaves_the_interpreter_is_refused(raised, imported_site):
    imported_site.plugin("p-calm", "calm", hook("register('sampler', 'calm', 'p_exit:S', 'x')"))
    imported_site.module("p_exit", f"raise {raised}\n")
    with pytest.raises(
        PluginError, match=r"cannot be imported from p_exit:S: .* raised by the plugin"
    ):
        registry().load("sampler", "calm")


def test_torch_in_the_module_that_registers_is_said(site):
    site.plugin("p-heavy", "heavy", hook(head=f"import torch\n{HEAD}"))
    code = "from dbtssl.plugins import registry; print([p.notes for p in registry().plugins if p.notes])"
    path = os.pathsep.join([str(site.path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("its import loads torch") == 1
