from __future__ import annotations

import importlib
import os
import pickle
import subprocess
import sys

import pytest

from dbtssl.plugins import add_plugin_file, registry
from dbtssl.plugins.files import module_name, plugin_files

PAINTED = '''
from dbtssl.config import Config
from dbtssl.plugins import hookimpl

DBTSSL_API = 1

class Painted:
    """Its own class as target, in the same file."""
    class Config(Config):
        pass
    strength = 1
    def positive(self, anchor, cohort, rng):
        return anchor

@hookimpl
def register_components(register):
    register("sampler", "painted", f"{__name__}:Painted", "from one file")
'''


@pytest.fixture
def painted(tmp_path):
    path = tmp_path / "my plugin.py"
    path.write_text(PAINTED, encoding="utf-8")
    yield path
    sys.modules.pop(module_name(path), None)


def test_one_file_is_a_plugin(painted):
    add_plugin_file(painted)
    plugin = registry().plugins[-1]
    assert (plugin.name, plugin.distribution, plugin.status) == ("my plugin", str(painted), "ok")
    sampler = registry().build("sampler", "painted", {})
    assert sampler.positive("slice", None, None) == "slice"


def test_the_installed_plugins_may_be_off(painted, monkeypatch):
    monkeypatch.setenv("DBTSSL_PLUGINS", "")
    add_plugin_file(painted)
    assert [p.name for p in registry().plugins] == ["core", "my plugin"]


def test_files_of_one_name_are_different_modules(painted, tmp_path):
    other = tmp_path / "other" / painted.name
    assert module_name(other) != module_name(painted)
    add_plugin_file(painted)
    add_plugin_file(other)
    add_plugin_file(painted)
    assert plugin_files() == [painted, other]


def test_a_file_that_is_gone_is_a_failed_row(tmp_path):
    add_plugin_file(tmp_path / "gone.py")
    assert registry().plugins[-1].status == "failed"
    assert "gone.py" in registry().plugins[-1].detail


def test_a_spawned_worker_finds_the_class(painted):
    add_plugin_file(painted)
    sampler = registry().build("sampler", "painted", {})
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).strength)"
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(sampler), capture_output=True, check=False
    )
    assert (done.stdout, done.stderr) == (b"1\n", b"")


@pytest.mark.parametrize(("line", "changed"), [("strength = 2", True), ("strength = 1", False)])
def test_the_fingerprint_follows_the_text_of_the_file(painted, line, changed):
    add_plugin_file(painted)
    before = registry().component("sampler", "painted").fingerprint()
    painted.write_text(PAINTED.replace("strength = 1", line), encoding="utf-8")
    registry.cache_clear()
    after = registry().component("sampler", "painted").fingerprint()
    assert (after != before) is changed
    assert before.startswith("my plugin.py ")


def test_the_fingerprint_does_not_ask_where_the_file_lies(painted, tmp_path):
    add_plugin_file(painted)
    here = registry().component("sampler", "painted").fingerprint()
    registry.cache_clear()
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    os.environ["DBTSSL_PLUGIN_FILES"] = str(painted.rename(folder / painted.name))
    assert registry().component("sampler", "painted").fingerprint() == here


READS = """
from pathlib import Path
import helper_of_painted
def read():
    return Path(__file__).with_name({later})
NOW = Path(__file__).with_name("st" + "ep.txt").read_text()
"""


def forget(*paths):
    registry.cache_clear()
    for path in paths:
        sys.modules.pop(module_name(path), None)
    sys.modules.pop("helper_of_painted", None)
    importlib.invalidate_caches()


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("step.txt", True),  # is read when the plugin is imported
        ("later.txt", True),  # is named
        ("tables/one.txt", True),  # in a folder that is named
        ("of_helper.txt", True),  # is read by the helper, when that is imported
        ("unnamed.txt", False),
        ("helper_of_painted.py", True),
        ("unused_helper.py", False),
    ],
)
def test_a_file_beside_the_plugin_counts_where_it_is_read(painted, monkeypatch, name, counts):
    folder = painted.parent
    (folder / "tables").mkdir()
    texts = dict.fromkeys(("step.txt", "later.txt", "tables/one.txt", "of_helper.txt"), "1")
    texts |= {"unnamed.txt": "1", "unused_helper.py": "H = 1\n"}
    texts["helper_of_painted.py"] = (
        "from pathlib import Path\n"
        "H = Path(__file__).with_name('of_' + 'helper.txt').read_bytes()\n"
    )
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    reads = READS.format(later="'later.txt'") + "TABLE = ('tables', 'one.txt')\n"
    painted.write_text(PAINTED + reads, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    add_plugin_file(painted)
    before = registry().component("sampler", "painted").fingerprint()
    forget(painted)
    assert registry().component("sampler", "painted").fingerprint() == before
    (folder / name).write_text(texts[name] + "\nJ = 2\n", encoding="utf-8")
    forget(painted)
    assert (registry().component("sampler", "painted").fingerprint() != before) is counts
    forget(painted)


def test_what_a_library_reads_while_the_plugin_is_imported_does_not_count(painted, monkeypatch):
    """A font list or a configuration is not the plugin's."""
    library = painted.parent / "site-packages"
    library.mkdir()
    (library / "p_reads.py").write_text(
        "from pathlib import Path\nPath(__file__).parents[1].joinpath('ca' + 'che').read_text()\n",
        encoding="utf-8",
    )
    (painted.parent / "cache").write_text("1", encoding="utf-8")
    painted.write_text("import p_reads\n" + PAINTED, encoding="utf-8")
    monkeypatch.syspath_prepend(str(library))
    add_plugin_file(painted)
    before = registry().component("sampler", "painted").fingerprint()
    for text in ("2", "33"):
        (painted.parent / "cache").write_text(text, encoding="utf-8")
        forget(painted)
        sys.modules.pop("p_reads", None)
        assert registry().component("sampler", "painted").fingerprint() == before
    sys.modules.pop("p_reads", None)
