"""The public page: one table, the checked-in surface, and nothing heavy until it is used."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import dbtssl.api
from dbtssl.api.table import PAGES

SURFACE = Path(__file__).parent / "api_surface.txt"
NAMES = [(page, name, home) for page, names in PAGES.items() for name, home in names.items()]


def test_the_public_surface_is_the_one_that_is_checked_in():
    """API 1: a name is added here by hand, and never taken away; see the docstring of `dbtssl.api`."""
    found = [f"{page or '-'} {name}" for page, name, _ in NAMES]
    assert sorted(found) == SURFACE.read_text(encoding="utf-8").splitlines()


def test_the_package_has_the_names_of_all_pages_and_each_once():
    names = [name for _, name, _ in NAMES]
    assert sorted(names) == dbtssl.api.__all__ == dir(dbtssl.api)
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("page", "name"), [(page, name) for page, name, _ in NAMES])
def test_a_name_is_the_same_object_on_both_pages(page, name):
    module = importlib.import_module(f"dbtssl.api.{page}" if page else "dbtssl.api")
    assert getattr(module, name) is getattr(dbtssl.api, name)
    assert name in dir(module)


def docstring(home, name):
    """Of a class or function its own; of a type alias or constant the text below it in its module."""
    module = importlib.import_module(home)
    value = getattr(module, name)
    if inspect.isclass(value) or inspect.isroutine(value):
        return value.__doc__
    body = ast.parse(inspect.getsource(sys.modules[home])).body
    imported = {
        alias.asname or alias.name: node.module
        for node in body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    if name in imported:
        return docstring(imported[name], name)
    for node, below in pairwise(body):
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            text = below.value if isinstance(below, ast.Expr) else None
            return text.value if isinstance(text, ast.Constant) else None
    return None


@pytest.mark.parametrize(("name", "home"), [(name, home) for _, name, home in NAMES])
def test_every_name_has_a_docstring(name, home):
    assert docstring(home, name), f"{home}: {name}"


@pytest.mark.parametrize("page", PAGES)
def test_type_checkers_read_what_the_table_says(page):
    """The imports below TYPE_CHECKING are for them alone."""
    file = Path(dbtssl.api.__file__).parent / f"{page or '__init__'}.py"
    (typing,) = (
        node
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.If)
    )
    found = {
        alias.name: (node.module, alias.asname)
        for node in typing.body
        for alias in node.names
        if alias.name != "*"
    }
    assert found == {name: (home, name) for name, home in PAGES[page].items()}
    stars = [node.module for node in typing.body if node.names[0].name == "*"]
    pages = sorted(f"dbtssl.api.{other}" for other in PAGES if other)
    assert stars == ([] if page else pages)


@pytest.mark.parametrize("page", [*PAGES])
def test_an_unknown_name_is_an_attribute_error(page):
    module = importlib.import_module(f"dbtssl.api.{page}".rstrip("."))
    with pytest.raises(AttributeError, match=f"'{module.__name__}' has no attribute 'Qeue'"):
        _ = module.Qeue


def test_torch_waits_for_a_name_that_needs_it():
    code = (
        "import sys, dbtssl.api as api\n"
        "from dbtssl.api import Cohort, Config, Method, PairViews, Reported, hookimpl\n"
        "from dbtssl.api.objectives import Batch, Crop, Step, ViewSpec\n"
        "assert api.data.SliceRef and api.sources.FrameReader and 'torch' not in sys.modules\n"
        "assert api.objectives.Queue and 'torch' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
