"""What the pages tell a reader to type is something that dbtssl understands."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest

from dbtssl.api import Cohort, Label, SliceRef, Volume
from dbtssl.cli.main import main
from dbtssl.interfaces.abilities import ABILITIES
from dbtssl.plugins import add_plugin_file, registry

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
PATH = re.compile(r"(?<![\w./-])(?:dbtssl|docs|plugins|benchmarks)/[\w./-]*")
BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    found = []
    for page in PAGES:
        for block in BLOCK.findall(page.read_text()):
            lines = block.replace("\\\n", " ").splitlines()
            found += [line for line in lines if line.startswith("dbtssl ")]
    return found


def test_the_pages_show_commands():
    assert len(commands()) >= 6
    assert {"README.md", "CHANGELOG.md", "docs/data.md"} <= {
        page.relative_to(ROOT).as_posix() for page in PAGES
    }


@pytest.mark.parametrize("line", commands())
def test_commands_parse(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "any_slice.py").write_text("")
    words = shlex.split(line)[1:]
    if words[0] == "--plugin":  # its loading is tested where the page's plugin is run
        words = words[2:]
    context = main.make_context("dbtssl", words)
    name, command, rest = main.resolve_command(context, words)
    context = command.make_context(name, rest, parent=context)
    if isinstance(context.command, click.Group):
        name, command, rest = context.command.resolve_command(context, rest)
        command.make_context(name, rest, parent=context)


def test_the_example_of_a_plugin_is_a_plugin_as_it_is_printed(tmp_path):
    """What its row of the benchmark gives is in `test_main_job`, which is slow."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGES[1].read_text(), re.DOTALL | re.MULTILINE)
    assert len(code.splitlines()) <= 28
    path = tmp_path / "any_slice.py"
    path.write_text(code)
    add_plugin_file(path)
    plugin = registry().plugins[-1]
    assert (plugin.status, plugin.detail, plugin.notes) == ("ok", "", ())
    assert registry().load("method", "any-slice").sampler == "any-slice"
    sampler = registry().build("sampler", "any-slice", {})
    cohort = Cohort([Volume("P", "S", "lcc", 5, 8, 8, Label.NORMAL)])
    rng = np.random.default_rng(0)
    drawn = {sampler.positive(SliceRef(0, 2), cohort, rng) for _ in range(100)}
    assert drawn == {SliceRef(0, z) for z in range(5)}


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            path = target.partition("#")[0]
            assert target.startswith("https://") or (page.parent / path).exists(), target


def paths(text: str) -> list[str]:
    """The paths below the project's folders that a text names; NAME stands for any name."""
    return [found.rstrip(".") for found in PATH.findall(text) if "NAME" not in found]


def test_paths_of_the_pages_exist():
    named = {path: page.name for page in PAGES for path in paths(page.read_text(encoding="utf-8"))}
    assert len(named) >= 30
    assert {path: page for path, page in named.items() if not (ROOT / path).exists()} == {}


def test_what_counts_as_a_path():
    text = "`dbtssl/nn/`, see docs/data.md. Not runs/docs/x.md, not `plugins/NAME/`; (benchmarks/a-b.toml)"
    assert paths(text) == ["dbtssl/nn/", "docs/data.md", "benchmarks/a-b.toml"]


def test_the_table_of_abilities_names_them_all():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for kind, abilities in ABILITIES.items():
        word = {"finetuner": "fine-tuner"}.get(kind, kind)
        for ability in abilities:
            assert f"| `{ability.__name__}` | {word} |" in page


def test_the_order_of_imports_is_that_of_the_layers():
    tree = ast.parse((ROOT / "tests/test_architecture.py").read_text(encoding="utf-8"))
    layers = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LAYERS"
    )
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = next(block for block in BLOCK.findall(page) if block.startswith("api, "))
    assert [set(line.split(", ")) for line in block.splitlines()] == [
        parts - {"__main__", "the package"} for parts in layers
    ]


def test_make_targets_of_the_pages_exist():
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for target in re.findall(r"\bmake ([\w.]+)(?=\s|`)", page.read_text()):
            assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target
