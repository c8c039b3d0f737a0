"""One wheel carries everything, each plugin's folder builds alone, and the two agree."""

from __future__ import annotations

import configparser
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import dbtssl

ROOT = Path(__file__).parents[1]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))


def project(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def wheel(folder, out):
    """Build the wheel of ``folder``: the names of its files, its entry points, its metadata."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        info = next(name.partition("/")[0] for name in names if ".dist-info/" in name)
        points = configparser.ConfigParser()
        points.read_string(archive.read(f"{info}/entry_points.txt").decode())
        metadata = archive.read(f"{info}/METADATA").decode()
    return names, points, metadata


def sources(folder, package):
    """The files of a package, as a wheel names them."""
    files = (p for p in (folder / package).rglob("*") if p.is_file() and p.suffix != ".pyc")
    return {path.relative_to(folder).as_posix() for path in files}


def test_the_root_names_the_entry_points_and_packages_of_every_plugin():
    root = project(ROOT)
    assert root["project"]["entry-points"]["dbtssl"] == {
        name: value
        for folder in PLUGINS
        for name, value in project(folder)["project"]["entry-points"]["dbtssl"].items()
    }
    packages = {
        f"plugins/{folder.name}/{package}"
        for folder in PLUGINS
        for package in project(folder)["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    }
    build = root["tool"]["hatch"]["build"]
    assert set(build["targets"]["wheel"]["packages"]) == {"dbtssl"} | packages
    assert set(build["dev-mode-dirs"]) == {".", *(f"plugins/{p.name}" for p in PLUGINS)}
    assert set(root["tool"]["mypy"]["packages"]) == {"dbtssl", *(Path(p).name for p in packages)}


def test_every_folder_of_plugins_is_a_distribution():
    folders = {path for path in (ROOT / "plugins").iterdir() if path.is_dir()}
    assert folders == set(PLUGINS)
    for folder in PLUGINS:
        settings = project(folder)["project"]
        assert settings["name"] == f"dbtssl-{folder.name.replace('_', '-')}"
        assert settings["requires-python"] == project(ROOT)["project"]["requires-python"]
        assert (
            (folder / "README.md").read_text(encoding="utf-8").startswith(f"# {settings['name']}\n")
        )


def test_one_wheel_carries_everything(tmp_path):
    names, points, metadata = wheel(ROOT, tmp_path)
    expected = sources(ROOT, "dbtssl")
    for folder in PLUGINS:
        expected |= sources(folder, f"dbtssl_{folder.name}")
    expected |= {f"dbtssl/benchmark/specs/{name}.toml" for name in ("quick", "smoke")}
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert points["console_scripts"]["dbtssl"] == "dbtssl.cli.main:main"
    assert set(points["dbtssl"]) == {folder.name for folder in PLUGINS}
    assert f"\nVersion: {dbtssl.__version__}\n" in metadata


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_each_plugin_builds_alone(folder, tmp_path):
    package = f"dbtssl_{folder.name}"
    names, points, metadata = wheel(folder, tmp_path)
    assert {name for name in names if ".dist-info/" not in name} == sources(folder, package)
    assert dict(points["dbtssl"]) == {folder.name: package}
    assert "\nRequires-Dist: dbtssl>=" in metadata
