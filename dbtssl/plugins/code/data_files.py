"""Files that a component takes data from, as far as they can be found without running it."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import cache
from pathlib import Path

from dbtssl.plugins import files
from dbtssl.plugins.code.locate import installed, of_python

HUGE = 256 << 20  # bytes; of a larger file, size and time of change stand for its content
LARGE = 1 << 20  # bytes; the hash of a larger file is kept while size and times stay
LONGEST_NAME = 255


def opened_files(name: str) -> list[Path]:
    """Files that code of the user opened while the plugin of one file ``name`` was imported."""
    return [
        path
        for path, openers in files.opened(name)
        if path.suffix not in (".py", ".pyc")
        and _is(path, "file")
        and not of_python(path)
        and not installed(path)
        and any(_is_users(Path(opener)) for opener in openers)
    ]


def _is_users(source: Path) -> bool:
    return source.suffix == ".py" and not of_python(source) and not installed(source)


def named_files(texts: set[str], module: Path) -> list[Path]:
    """Files that a string constant names, seen from the module's folder, the one above, and the current one.

    Also a file in a folder that another constant names.
    """
    names = []
    for text in texts:
        if 1 < len(text) <= LONGEST_NAME and text.isprintable() and text != "..":
            with suppress(RuntimeError):  # the home of an unknown user
                names.append(Path(text).expanduser())
    bases = {module.parent, module.parent.parent, Path.cwd()}
    folders = {p for base in bases for n in names if _is(p := base / n, "dir")}
    found = {base / n for base in bases | folders for n in names if _is(base / n, "file")}
    return sorted(found - {module})


def _is(path: Path, what: str) -> bool:
    try:
        return path.is_file() if what == "file" else path.is_dir()
    except (OSError, ValueError):
        return False


def relative(path: Path, base: Path) -> str:
    """The name of a file as seen from ``base``; of one elsewhere its own name, without its folder."""
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.name


def content_of(path: Path) -> str:
    """SHA-256 of a file; of a huge one its size and time of change."""
    about = path.stat()
    if about.st_size > HUGE:
        return f"{about.st_size} bytes of {about.st_mtime_ns}"
    if about.st_size > LARGE:
        return _kept(path, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _kept(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
