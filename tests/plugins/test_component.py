from __future__ import annotations

import os
from pathlib import Path

import pytest

import dbtssl
from dbtssl.errors import PluginError
from dbtssl.plugins import registry
from dbtssl.plugins.component import Component


def component(target, module, distribution="p-pkg", version="0.1"):
    return Component("sampler", "x", target, "for a test", "p", distribution, version, module)


@pytest.fixture
def package(imported_site):
    """``p_pkg.own`` imports ``p_pkg.part``; ``p_pkg.neighbour`` is not read by it."""
    folder = imported_site.path / "p_pkg"
    (folder / "inner").mkdir(parents=True)
    for name, text in {
        "__init__": '"""A plugin."""\n',
        "own": "from p_pkg import part\nX = 1\n",
        "part": "P = 1\n",
        "neighbour": "N = 1\n",
        "inner/deep": "D = 1\n",
    }.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def own(target="p_pkg.own:X", module="p_pkg"):
    """The fingerprint of a component that nobody has asked before."""
    return component(target, module).fingerprint()


def after(path, text):
    """The fingerprint once ``path`` holds ``text``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return own()


def test_it_names_distribution_and_version(package):
    name, version, code = own().split()
    assert (name, version, len(code)) == ("p-pkg", "0.1", 64)
    assert component("p_pkg.own:X", "p_pkg", version="0.2").fingerprint() != own()
    assert component("p_pkg.own:X", "p_pkg", distribution="p-fork").fingerprint() != own()


def test_another_target_of_one_module_is_another_component(package):
    assert own("p_pkg.own:Y") != own()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("own", "from p_pkg import part\nX = 2\n"),
        ("part", "P = 2\n"),
        ("__init__", "import os\n"),
    ],
)
def test_the_own_module_what_it_imports_and_the_package_count(package, file, text):
    assert own() != after(package / f"{file}.py", text)


@pytest.mark.parametrize("file", ["neighbour", "inner/deep", "new"])
def test_a_neighbour_that_is_not_imported_does_not_count(package, file):
    assert own() == after(package / f"{file}.py", "N = 2\n")


@pytest.mark.parametrize(
    "line",
    [
        "from p_pkg.neighbour import N",
        "from .neighbour import N",
        "from . import neighbour",
        "from p_pkg import *",
        "import p_pkg.neighbour as n",
        "def f():\n    from p_pkg import neighbour",
        "if X:\n    import p_pkg.neighbour",
        "import importlib\nimportlib.import_module('p_pkg.neighbour')",
        "import importlib\nimportlib.import_module('.neighbour', __package__)",
        "import importlib\nimportlib.import_module(f'p_pkg.{X}')",
        "LATER = {'n': 'p_pkg.neighbour:N'}",
    ],
)
def test_every_way_to_import_a_neighbour_counts(package, line):
    before = after(package / "part.py", f"X = 1\n{line}\n")
    assert before != after(package / "neighbour.py", "N = 2\n")


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\nfrom p_pkg import part\n\n\nX    =    1\n",
        '"""Said here."""\nfrom p_pkg import part\nX = (\n    1\n)\n"""Said of X."""\n',
        "from p_pkg import part\nX = 1\ndef register_components(register):\n    register('sampler')\n",
    ],
)
def test_comments_docstrings_layout_and_the_list_of_components_do_not_count(package, text):
    assert own() == after(package / "own.py", text)


@pytest.mark.parametrize("reads", ["__doc__", "inspect.getsource(f)", "getattr(f, '__doc__')"])
def test_comments_count_in_code_that_reads_its_own_text(package, reads):
    before = after(package / "own.py", f"import inspect\nf = 1\nX = {reads}\n")
    assert before != after(package / "own.py", f"import inspect\nf = 1\nX = {reads}  # other\n")


def test_a_file_that_is_no_python_counts_as_it_is(package):
    before = after(package / "own.py", "this is no Python\n")
    assert before != after(package / "own.py", "nor is this\n")


@pytest.mark.parametrize("name", ["table.json", "inner/weights.npz", "notes.txt"])
def test_every_file_for_data_of_the_package_counts(package, name):
    without = own()
    first = after(package / name, "1")
    assert len({without, first, after(package / name, "2")}) == 3


@pytest.mark.parametrize("name", [".hidden/x.json", "__pycache__/own.cpython-311.pyc", "own.py~"])
def test_hidden_and_compiled_files_do_not(package, name):
    assert own() == after(package / name, "1")


def test_a_helper_outside_the_package_counts_with_what_it_imports_and_reads(package, imported_site):
    (package / "part.py").write_text("def f():\n    import p_helper\n", encoding="utf-8")
    site = imported_site.path
    first = after(site / "p_helper.py", "from p_other import O\nTABLE = 'p_table.txt'\n")
    second = after(site / "p_other.py", "O = 1\n")
    third = after(site / "p_other.py", "O = 2\n")
    fourth = after(site / "p_table.txt", "1")
    fifth = after(site / "p_table.txt", "2")
    assert len({first, second, third, fourth, fifth}) == 5
    assert fifth == after(site / "p_unused.py", "U = 1\n")


def test_the_data_of_another_package_that_it_imports_count(package, imported_site):
    (package / "part.py").write_text("import p_other.deep\n", encoding="utf-8")
    other = imported_site.path / "p_other"
    after(other / "__init__.py", "")
    after(other / "deep.py", "")
    first = after(other / "data" / "x.json", "1")
    assert first != after(other / "data" / "x.json", "2")
    assert first == after(other / "data" / "x.json", "1")
    assert first == after(other / "unused.py", "U = 1\n")


def test_a_target_in_another_package_counts_too(package, imported_site):
    imported_site.module("p_other", "Y = 1\n")
    both = own("p_other:Y")
    imported_site.module("p_other", "Y = 22\n")
    assert own("p_other:Y") != both
    (package / "__init__.py").write_text("Z = 1\n", encoding="utf-8")  # it registers the component
    assert own("p_other:Y") not in (both, own())


@pytest.fixture
def installed(imported_site, monkeypatch, tmp_path):
    """A folder of installed libraries on the path."""
    folder = tmp_path / "lib" / "site-packages"
    folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(folder))

    def library(name, text, version="1.0", info=True, **more):
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
        if info:
            about = folder / f"{name}-1.dist-info"
            about.mkdir(exist_ok=True)
            metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            (about / "METADATA").write_text(metadata, encoding="utf-8")
            (about / "top_level.txt").write_text(name, encoding="utf-8")
            for file, content in more.items():
                (about / f"{file}.json").write_text(content, encoding="utf-8")
            (about / "entry_points.txt").write_text(more.get("entry", ""), encoding="utf-8")
        from dbtssl.plugins.code import locate

        locate.library.cache_clear()
        locate.plugin_packages.cache_clear()

    yield library
    from dbtssl.plugins.code import locate

    locate.library.cache_clear()
    locate.plugin_packages.cache_clear()


def test_of_an_installed_library_the_version_counts_and_not_the_code(package, installed):
    (package / "part.py").write_text("import p_lib\n", encoding="utf-8")
    absent = own()
    installed("p_lib", "L = 1\n")
    first = own()
    installed("p_lib", "L = 2\n")
    assert own() == first
    installed("p_lib", "L = 2\n", version="2.0")
    assert len({absent, first, own()}) == 3


@pytest.mark.parametrize(
    "more",
    [
        {"info": False},
        {"direct_url": '{"url": "file:///somewhere", "dir_info": {}}'},
        {"entry": "[dbtssl]\np_lib = p_lib\n"},
    ],
    ids=["of no distribution", "from a folder", "a plugin"],
)
def test_a_version_that_does_not_say_what_the_code_is_does_not_stand_for_it(
    package, installed, more
):
    (package / "part.py").write_text("import p_lib\n", encoding="utf-8")
    installed("p_lib", "L = 1\n", **more)
    first = own()
    installed("p_lib", "L = 2\n", **more)
    assert own() != first


def test_the_libraries_of_dbtssl_itself_are_in_no_key(package):
    from dbtssl.plugins.code.dependencies import code_parts

    after(package / "part.py", "import torch\nfrom lightly.loss import NTXentLoss\n")
    assert list(code_parts(["p_pkg.own"])) == [
        "module p_pkg",
        "module p_pkg.own",
        "module p_pkg.part",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "os.environ['P_STEP']",
        "os.environ.get('P_STEP')",
        "os.getenv('P_STEP')",
        "'P_STEP' in os.environ",
    ],
)
def test_a_variable_of_the_environment_that_it_reads_counts(package, monkeypatch, line):
    without = after(package / "part.py", f"import os\nP = {line}\n")
    monkeypatch.setenv("P_STEP", "1")
    first = own()
    monkeypatch.setenv("P_STEP", "2")
    assert len({without, first, own()}) == 3


@pytest.mark.parametrize("name", ["LOCAL_RANK", "CUDA_VISIBLE_DEVICES", "HOME"])
def test_a_variable_that_says_where_it_runs_does_not(package, monkeypatch, name):
    before = after(package / "part.py", f"import os\nP = os.environ.get('{name}')\n")
    monkeypatch.setenv(name, "3")
    assert own() == before


def test_it_is_that_of_the_code_that_was_imported_also_when_a_file_changes_in_a_run(package):
    found = component("p_pkg.own:X", "p_pkg")
    before = found.fingerprint()
    assert after(package / "own.py", "X = 2\n") != before
    assert found.fingerprint() == before


def test_modules_that_import_each_other(package):
    (package / "part.py").write_text("from p_pkg import own\n", encoding="utf-8")
    assert own() != after(package / "own.py", "from p_pkg import part\nX = 2\n")


def test_a_target_that_is_nowhere_has_no_fingerprint():
    with pytest.raises(PluginError, match="no module named 'p_nowhere'"):
        component("p_nowhere:X", "dbtssl").fingerprint()


def test_a_plugin_that_builds_on_another_counts_its_code(imported_site):
    """Nothing else of the other package counts."""
    from dbtssl.plugins.code.dependencies import code_parts

    folder = imported_site.path / "p_other"
    folder.mkdir()
    for name in ("__init__", "method", "neighbour"):
        (folder / f"{name}.py").write_text("X = 1\n", encoding="utf-8")
    imported_site.module("p_mine", "from p_other.method import X\n")
    modules = [name for name in code_parts(["p_mine"]) if name.startswith("module")]
    assert modules == ["module p_mine", "module p_other", "module p_other.method"]


def test_of_the_core_a_component_counts_as_its_own_module():
    found = registry().component("backbone", "cnn7")
    name, version, code = found.fingerprint().split()
    assert (name, version, len(code)) == ("dbtssl", dbtssl.__version__, 64)
    assert code != registry().component("method", "random-init").code


def test_the_libraries_are_those_that_dbtssl_depends_on():
    import tomllib

    from dbtssl.plugins.code.locate import LIBRARIES

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    named_otherwise = {
        "pillow": "PIL", "scikit_learn": "sklearn", "scikit_image": "skimage", "pylibjpeg_openjpeg": "openjpeg",
    }  # fmt: skip
    names = {d.partition(">")[0].replace("-", "_") for d in project["dependencies"]}
    assert {named_otherwise.get(name, name) for name in names} <= LIBRARIES


def test_of_a_huge_file_size_and_time_stand_for_its_content(package):
    path = package / "weights.bin"
    with path.open("wb") as file:
        file.truncate((256 << 20) + 1)  # sparse: it takes no room
    before = own()
    assert own() == before
    os.utime(path, ns=(1, 1))
    assert own() != before
