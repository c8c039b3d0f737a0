"""What the pages tell a reader to type is something that dbtssl understands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from dbtssl.cli.main import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
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
    assert "docs/data.md" in {page.relative_to(ROOT).as_posix() for page in PAGES}


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


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            path = target.partition("#")[0]
            assert target.startswith("https://") or (page.parent / path).exists(), target


def test_make_targets_of_the_pages_exist():
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for target in re.findall(r"\bmake ([\w.]+)(?=\s|`)", page.read_text()):
            assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target
