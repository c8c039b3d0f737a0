from __future__ import annotations

import importlib
import os
import pickle
import re
import subprocess
import sys

import pytest

from dbtssl.cli.main import main
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


NAMES = (
    "2nd.py",
    "any slice (2).py",
    "random.py",
    "torch.py",
    "numpy.py",
    "dbtssl.py",
    "\u00fcbung.py",
    "a.b.py",
    "class.py",
    "-.py",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_any_name_is_a_plugin(tmp_path, monkeypatch, name):
    """Each is a module of its own, and none of them stands in for another module."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.write_text(PAINTED, encoding="utf-8")
    add_plugin_file(path)
    plugin = registry().plugins[-1]
    assert (plugin.status, plugin.detail) == ("ok", "")
    sampler = registry().build("sampler", "painted", {})
    assert registry().component("sampler", "painted").fingerprint().startswith(f"{name} ")
    code = "import pickle, sys, random, numpy, torch; print(pickle.load(sys.stdin.buffer).strength)"
    if name == NAMES[0]:  # a worker process costs a second
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=pickle.dumps(sampler),
            capture_output=True,
            check=True,
        )
        assert done.stdout == b"1\n"
    assert pickle.loads(pickle.dumps(sampler)).strength == 1
    sys.modules.pop(module_name(path), None)


@pytest.mark.parametrize("name", ["core.py", "moco.py"])
def test_a_file_named_like_a_plugin_that_is_there_is_refused_by_name(tmp_path, name):
    (tmp_path / name).write_text(PAINTED, encoding="utf-8")
    add_plugin_file(tmp_path / name)
    plugin = registry().plugins[-1]
    assert plugin.status == "failed"
    assert f"the plugin name {name[:-3]!r} is already used by dbtssl" in plugin.detail
    assert plugin.detail.endswith("rename the file")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("plugin.txt", "expected a Python module; rename it to plugin.py"),
        ("plugin", "expected a Python module; rename it to plugin.py"),
        (f"a{os.pathsep}b.py", "which separates the paths"),
    ],
)
def test_a_file_that_cannot_be_a_plugin_is_refused_at_once(tmp_path, capsys, name, words):
    (tmp_path / name).write_text(PAINTED, encoding="utf-8")
    with pytest.raises(SystemExit) as left:
        main(["--plugin", str(tmp_path / name), "plugins"])
    assert left.value.code == 2
    shown = " ".join(re.sub("[\u2500-\u257f]", " ", capsys.readouterr().err).split())
    assert words in shown
    assert plugin_files() == []


def test_a_helper_beside_the_file_is_told_from_a_package_that_is_not_installed(tmp_path):
    (tmp_path / "my_helper.py").write_text("X = 1\n", encoding="utf-8")
    for name, module in (("one.py", "my_helper"), ("two.py", "not_installed_at_all")):
        (tmp_path / name).write_text(f"import {module}\n{PAINTED}", encoding="utf-8")
        add_plugin_file(tmp_path / name)
    one, two = registry().plugins[-2:]
    assert (
        "my_helper lies beside the file, but a plugin of one file is imported alone" in one.detail
    )
    assert two.detail == "ModuleNotFoundError: No module named 'not_installed_at_all'"
