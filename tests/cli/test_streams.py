"""Terminals that cannot show everything: what is said stays readable, and nothing dies of a character."""

from __future__ import annotations

import io
import sys

import click
import pytest

from dbtssl.cli.failures import REFUSED
from dbtssl.cli.main import main
from dbtssl.errors import DataError
from dbtssl.progress import progress, say

WORDS = "84.9¹† ΔAUC +1.1 ± 0.2, Density ρ ≥ 77.1–90.5 • naïve …"
ASCII = "84.9a+ dAUC +1.1 +- 0.2, Density rho >= 77.1-90.5 - naive ..."


@pytest.fixture
def terminal(monkeypatch):
    """Standard output and error of an encoding, and what was written to them as text of it."""

    def install(encoding):
        for name in ("stdout", "stderr"):
            stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
            monkeypatch.setattr(sys, name, stream)
        out, err = sys.stdout, sys.stderr

        def written():
            return [x.buffer.getvalue().decode(encoding) for x in (out, err)]

        return written

    return install


def call(monkeypatch, body, *args):
    command = click.Command("words", callback=body)
    monkeypatch.setitem(main.commands, "words", command)
    with pytest.raises(SystemExit) as left:
        main(["words", *args], prog_name="dbtssl")
    return left.value.code or 0


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", ASCII),
        ("latin-1", "84.9¹+ dAUC +1.1 ± 0.2, Density rho >= 77.1-90.5 - naïve ..."),
        ("cp1252", "84.9¹† dAUC +1.1 ± 0.2, Density rho >= 77.1–90.5 • naïve …"),
        ("utf-8", WORDS),
    ],
)
def test_what_an_encoding_lacks_is_written_in_words(encoding, shown, terminal, monkeypatch):
    written = terminal(encoding)

    def body():
        print(WORDS)
        say(WORDS)
        with progress("Δ", 1) as ticker:
            ticker.advance(1, WORDS)

    assert call(monkeypatch, body) == 0
    out, err = written()
    assert out == f"{shown}\n"
    assert f"{shown}\n" in err


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_bytes_of_a_file_name_that_is_not_utf_8_are_shown(encoding, terminal, monkeypatch):
    written = terminal(encoding)

    def body():
        raise DataError("no such file: /data/caf\udce9/\udcff.dcm", hint="check 中")

    assert call(monkeypatch, body) == REFUSED
    error, hint = written()[1].splitlines()
    assert error == "error: no such file: /data/caf\\xe9/\\xff.dcm"
    assert hint == ("hint: check \\u4e2d" if encoding == "ascii" else "hint: check 中")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_the_list_of_plugins_and_help_reach_every_terminal(encoding, terminal):
    for args in (["plugins"], ["--help"], ["benchmark", "--help"], ["benchmrk"]):
        written = terminal(encoding)
        with pytest.raises(SystemExit):
            main(args, prog_name="dbtssl")
        assert len("".join(written())) > 50
