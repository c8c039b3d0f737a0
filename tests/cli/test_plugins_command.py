from __future__ import annotations

import json

import pytest

import dbtssl
from dbtssl.cli.main import main
from dbtssl.plugins import add_plugin_file

FILE = """
from dbtssl.plugins import hookimpl
DBTSSL_API = 1
@hookimpl
def register_components(register):
    register("sampler", "mine", f"{__name__}:Mine", "mine [red]and[/red] only mine")
class Mine:
    pass
"""


def listing(capsys, *args):
    with pytest.raises(SystemExit) as left:
        main([*args])
    assert not left.value.code
    return capsys.readouterr().out


@pytest.fixture
def one_and_one(tmp_path, monkeypatch):
    """The core, one file that works and one that does not."""
    monkeypatch.setenv("DBTSSL_PLUGINS", "")
    (tmp_path / "mine.py").write_text(FILE, encoding="utf-8")
    (tmp_path / "bad.py").write_text("1 / 0", encoding="utf-8")
    add_plugin_file(tmp_path / "mine.py")
    add_plugin_file(tmp_path / "bad.py")
    return tmp_path


def test_json_has_exactly_these_keys(one_and_one, capsys):
    core, mine, bad = json.loads(listing(capsys, "plugins", "--json"))
    assert list(core) == [
        "name",
        "distribution",
        "version",
        "status",
        "detail",
        "notes",
        "components",
    ]
    assert (core["name"], core["distribution"], core["version"]) == (
        "core",
        "dbtssl",
        dbtssl.__version__,
    )
    assert {(c["kind"], c["name"]) for c in core["components"]} >= {
        ("source", "bcs-dbt"),
        ("source", "phantom"),
        ("aggregator", "mean"),
        ("aggregator", "max"),
        ("backbone", "cnn7"),
        ("method", "random-init"),
    }
    assert mine == {
        "name": "mine",
        "distribution": str(one_and_one / "mine.py"),
        "version": "",
        "status": "ok",
        "detail": "",
        "notes": [],
        "components": [
            {"kind": "sampler", "name": "mine", "summary": "mine [red]and[/red] only mine"}
        ],
    }
    assert (bad["status"], bad["components"]) == ("failed", [])
    assert bad["detail"] == "ZeroDivisionError: division by zero"


def test_the_table_shows_components_and_below_it_what_failed(one_and_one, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "300")
    lines = listing(capsys, "plugins").splitlines()
    (mine,) = [line for line in lines if line.startswith("mine ")]
    assert mine.rstrip().endswith(" mine [red]and[/red] only mine")
    assert (
        lines[-1] == f"bad ({one_and_one / 'bad.py'}) failed: ZeroDivisionError: division by zero"
    )


def test_debug_adds_the_traceback_of_what_failed(one_and_one, capsys):
    assert 'bad.py", line 1, in <module>' in listing(capsys, "--debug", "plugins")
