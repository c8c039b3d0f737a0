from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dbtssl.errors import ConfigError
from dbtssl.folders import expanded, user_folder

ROOT = Path(__file__).parents[1]
NOBODY = """
import os, pwd, sys
NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")
def gone(*args): raise KeyError("no such user")
pwd.getpwuid = pwd.getpwnam = gone
for name in [n for n in os.environ if n in ("HOME", *NAMES) or n.startswith("XDG_")]:
    del os.environ[name]
from dbtssl.cli.main import main
main(sys.argv[1:])
"""


def homeless(folder, *args):
    """The command line for a user whom the system does not know: no HOME, no entry of passwd."""
    return subprocess.run(
        [sys.executable, "-c", NOBODY, *args], cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="passwd is POSIX")
@pytest.mark.parametrize(
    ("args", "named"),
    [(("benchmark",), "XDG_CACHE_HOME"), (("benchmark", "--data", "bcs-dbt:~/x"), "in full")],
)
def test_no_home_and_no_passwd_entry_is_a_refusal_with_the_next_step(args, named, tmp_path):
    done = homeless(tmp_path, *args)
    assert done.returncode == 2, done.stderr
    assert "HOME is not set" in done.stderr
    assert named in done.stderr.splitlines()[-1]
    assert not list(tmp_path.rglob("*dbtssl*"))  # an old blosc2 makes a folder "~" of its own


@pytest.mark.skipif(os.name != "posix", reason="passwd is POSIX")
def test_what_needs_no_home_works_without(tmp_path):
    done = homeless(tmp_path, "--version")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.name != "posix", reason="passwd is POSIX")
def test_a_user_without_a_name_gets_a_table_of_the_work(tmp_path):
    """Torch asks for the user's name when it is imported; with a cache folder everything runs."""
    (tmp_path / "root").mkdir()
    done = homeless(tmp_path, "benchmark", "--data", "bcs-dbt:root", "--plan")
    assert done.returncode == 2
    assert "KeyError" not in done.stderr


def test_a_home_that_an_older_platformdirs_leaves_unexpanded_is_refused(monkeypatch):
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: Path("~/.config") / name)
    with pytest.raises(ConfigError, match="HOME is not set") as caught:
        user_folder("config")
    assert "XDG_CONFIG_HOME" in caught.value.hint


def test_paths_are_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/x") == tmp_path / "x"
    assert expanded("a/b") == Path("a/b")
