from __future__ import annotations

import json

from click.testing import CliRunner

from dbtssl.cli.phantom_command import EXAMPLE, command


def test_writes_and_says_where(tmp_path):
    out = tmp_path / "cohort"
    args = [str(out), "--patients", "2", "--rows", "64", "--spacing", "8", "--jobs", "1"]
    result = CliRunner().invoke(command, args, catch_exceptions=False)
    assert result.exit_code == 0
    assert f"wrote {out}" in result.output
    assert "2 patients" in result.output
    assert "benign" in result.output or "cancer" in result.output
    config = json.loads((out / "phantom.json").read_text())["config"]
    assert (config["patients"], config["rows"], config["spacing"]) == (2, 64, 8.0)


def test_help_ends_with_an_example_that_is_real():
    result = CliRunner().invoke(command, ["--help"])
    assert result.exit_code == 0
    assert " ".join(result.output.split()).endswith(EXAMPLE)
    args = EXAMPLE.removeprefix("Example: dbtssl phantom ").split()
    context = command.make_context("phantom", args)
    assert context.params["rows"] == 256


def test_refuses_a_wrong_option(tmp_path):
    result = CliRunner().invoke(command, [str(tmp_path / "x"), "--rows", "10"])
    assert result.exit_code != 0
    assert "rows" in str(result.exception)
    assert not (tmp_path / "x").exists()
