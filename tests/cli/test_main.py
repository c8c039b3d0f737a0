from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import dbtssl
from dbtssl.cli.failures import BUG, INTERRUPTED, REFUSED
from dbtssl.cli.main import COMMANDS, main
from dbtssl.errors import DataError

HEAVY = ("torch", "numpy", "pydantic", "pluggy", "timm", "matplotlib", "skimage", "pydicom")


def call(*args):
    """Run the command line in this process; its exit code."""
    with pytest.raises(SystemExit) as left:
        main(list(args), prog_name="dbtssl")
    return left.value.code or 0


@pytest.fixture
def failing(monkeypatch):
    """A command that raises what it is given."""

    def install(exc):
        @click.command("fail")
        def fail():
            raise exc

        monkeypatch.setitem(main.commands, "fail", fail)

    return install


def test_help_imports_nothing_heavy_and_no_command():
    code = (
        "import sys\n"
        "from dbtssl.cli.main import main\n"
        "try: main(['--help'])\n"
        f"finally: print([m for m in sys.modules if m.split('.')[0] in {HEAVY}"
        " or m.startswith('dbtssl.') and m.split('.')[1] not in ('cli', 'errors')"
        " or m in ('dbtssl.cli.benchmark_command', 'dbtssl.cli.data_command', 'dbtssl.cli.phantom_command')"
        "], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")
    for name, (_, line) in COMMANDS.items():
        assert name in done.stdout
        assert line in done.stdout


def test_the_module_runs_as_the_script_does():
    done = subprocess.run(
        [sys.executable, "-m", "dbtssl", "-h"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "Usage: dbtssl [OPTIONS] COMMAND" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_ends_with_an_example(name, capsys):
    assert call(name, "-h") == 0
    shown = capsys.readouterr().out
    assert f"Usage: dbtssl {name}" in shown
    if "COMMAND [ARGS]" not in shown:  # the commands of a group have examples of their own
        assert "Example: dbtssl" in " ".join(shown.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_the_group_says_what_the_command_says(name):
    context = main.commands[name].make_context(name, ["x"], resilient_parsing=True)
    first = context.command.help.split("\n\n")[0]
    assert " ".join(first.split()) == COMMANDS[name][1]


def test_a_command_that_cannot_be_imported_leaves_the_others_alone(monkeypatch, capsys):
    monkeypatch.setattr(main.commands["data"], "target", "dbtssl.cli.absent:command")
    assert call("data") == BUG
    assert "No module named 'dbtssl.cli.absent'" in capsys.readouterr().err
    assert call("--help") == 0
    assert call("plugins") == 0


@pytest.mark.parametrize("args", [["--nonsense"], ["nonsense"], ["plugins", "--nonsense"]])
def test_a_wrong_call_exits_with_2_and_no_traceback(args, capsys):
    assert call(*args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Usage: dbtssl" in err
    assert "Traceback" not in err


def test_a_wrong_command_suggests_the_nearest(capsys):
    assert call("benchmrk") == 2
    assert "No such command 'benchmrk'. Did you mean 'benchmark'?" in capsys.readouterr().err


def test_a_users_mistake_is_two_lines_and_exit_code_2(failing, capsys):
    failing(DataError("no table in /data [bold]x[/bold] " + "long " * 40, hint="download it"))
    assert call("fail") == REFUSED == 2
    out, err = capsys.readouterr()
    assert out == ""
    expected = "error: no table in /data [bold]x[/bold] " + " ".join(["long"] * 40)
    assert [line.rstrip() for line in err.splitlines()] == [expected, "hint: download it"]


def test_a_mistake_without_a_next_step_is_one_line(failing, capsys):
    failing(DataError("no table"))
    assert call("fail") == REFUSED
    assert capsys.readouterr().err == "error: no table\n"


def test_debug_shows_the_traceback(failing, capsys):
    failing(DataError("no table", hint="download it"))
    assert call("--debug", "fail") == REFUSED
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert "raise exc" in err
    assert err.endswith("error: no table\nhint: download it\n")


def test_an_interrupt_is_one_line_and_exit_code_130(failing, capsys):
    failing(KeyboardInterrupt())
    assert call("fail") == INTERRUPTED == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def full_disk():
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/store/x")


def wrapped_full_disk():
    try:
        raise full_disk()
    except OSError as exc:
        wrapped = RuntimeError("cannot write")
        wrapped.__cause__ = exc
        return wrapped


@pytest.mark.parametrize("make", [full_disk, wrapped_full_disk])
def test_a_full_disk_is_one_line_wherever_it_was_met(make, failing, capsys):
    failing(make())
    assert call("fail") == REFUSED
    assert capsys.readouterr().err == (
        "error: the disk is full (/data/store/x)\nhint: make room and run the same command again\n"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_output_to_a_full_disk_is_refused_too():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dbtssl", "plugins", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == REFUSED
    assert done.stderr.startswith("error: the disk is full\n")


def test_a_failing_disk_is_named_as_that(failing, capsys):
    failing(OSError(errno.EIO, "Input/output error", "/data"))
    assert call("fail") == REFUSED
    told = capsys.readouterr().err
    assert "/data cannot be used: Input/output error" in told
    assert "the disk or its connection failed" in told


def test_another_os_error_is_not_taken_for_a_full_disk(failing, capsys):
    failing(OSError(errno.EINVAL, "Invalid argument", "/data"))
    assert call("fail") == BUG
    assert "Invalid argument: '/data'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "words", "hint"),
    [
        (errno.EACCES, "no permission", "read and write"),
        (errno.EROFS, "the file system is read-only", "that you may write to"),
        (errno.ENAMETOOLONG, "the name is too long for the file system", "255 bytes"),
    ],
)
def test_what_the_system_refuses_is_no_bug(code, words, hint, failing, capsys):
    failing(OSError(code, os.strerror(code), "/data/x"))
    assert call("fail") == REFUSED
    error, step = capsys.readouterr().err.splitlines()
    assert error == f"error: {words}: /data/x"
    assert hint in step


def test_a_folder_name_that_is_too_long_is_refused(tmp_path, capsys):
    assert call("benchmark", "--out", str(tmp_path / ("x" * 300))) == REFUSED
    assert "File name too long" in capsys.readouterr().err


def test_a_bug_is_exit_code_1_and_asks_for_debug(failing, capsys):
    failing(ZeroDivisionError("division by [zero]"))
    assert call("fail") == BUG == 1
    head, hint = capsys.readouterr().err.splitlines()
    assert head == "error: ZeroDivisionError: division by [zero]"
    assert hint == (
        "hint: this is a bug in dbtssl; run again with --debug before the command and report it"
    )


PLUGIN = """
from dbtssl.plugins import hookimpl
DBTSSL_API = 1
@hookimpl
def register_components(register):
    register("backbone", "boom", f"{__name__}:boom", "raises")
def boom():
    raise ValueError("in the plugin")
"""


@pytest.fixture
def plugin_file(tmp_path):
    path = tmp_path / "boom.py"
    path.write_text(PLUGIN, encoding="utf-8")
    return path


def test_a_bug_in_a_plugin_names_the_plugin(plugin_file, monkeypatch, capsys):
    @click.command("fail")
    def fail():
        from dbtssl.plugins import registry

        registry().load("backbone", "boom")()

    monkeypatch.setitem(main.commands, "fail", fail)
    assert call("--plugin", str(plugin_file), "fail") == BUG
    head, hint = capsys.readouterr().err.splitlines()
    assert head == "error: ValueError: in the plugin"
    assert hint.startswith(f"hint: this is a bug in plugin boom ({plugin_file});")


def test_a_plugin_file_that_is_not_there_is_a_wrong_call(tmp_path, capsys):
    assert call("--plugin", str(tmp_path / "none.py"), "plugins") == 2
    assert "Invalid value for '--plugin'" in capsys.readouterr().err


def test_version_lists_plugins_wherever_the_option_stands(plugin_file, monkeypatch, capsys):
    monkeypatch.setenv("DBTSSL_PLUGINS", "absent")
    for args in (
        ["--version", "--plugin", str(plugin_file)],
        ["--plugin", str(plugin_file), "--version"],
    ):
        assert call(*args) == 0
        assert capsys.readouterr().out.splitlines() == [
            f"dbtssl {dbtssl.__version__}",
            f"  core (dbtssl {dbtssl.__version__})",
            "  absent, failed to load",
            f"  boom ({plugin_file})",
        ]


def test_a_reader_that_leaves_early_is_no_error():
    code = "from dbtssl.cli.main import main; main(['plugins', '--json'])"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 1
