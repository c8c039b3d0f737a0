"""The one way in which this project writes: a file is there whole and on the disk, or it is what it was before.

A file is written under a temporary name beside its own, synchronised with the disk, renamed, and then its folder is
synchronised: after a crash, or a loss of power, there is the old content or the new one. The temporary name holds the
host, the process and a random token, so that writers on several machines of one file system do not meet.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

PARTIAL = ".partial"  # ends the name of a file that is being written; a dot begins it
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM, errno.EISDIR)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, to be written; it takes the place of ``path`` if all goes well, or goes.

    Missing folders are made. An `OSError` of the disk comes as it is, and ``path`` is then what it was.
    """
    make_folder(path.parent)
    temporary = _temporary(path)
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """`atomic_path`, opened for writing bytes."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        yield file


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data``: ``path`` is what it was before, or holds all of it."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """The same for text, in UTF-8 and with its line ends as they are."""
    write_bytes(path, text.encode())


def create(path: Path, data: bytes, mode: int) -> None:
    """Write ``data`` unless ``path`` is there: of processes that do so at once, the first one's stays.

    ``mode`` is the file's from its first moment on.
    """
    temporary = _temporary(path)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def append_text(path: Path, text: str) -> None:
    """Add ``text`` to the end of a file, which is made if it is missing."""
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def rename(source: Path, target: Path) -> None:
    """Give a finished file or folder its name, in place of a file of that name."""
    make_folder(target.parent)
    source.replace(target)
    sync_folder(target.parent)
    if source.parent != target.parent:
        sync_folder(source.parent)


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make ``folder`` and what is missing above it; ``mode`` is that of ``folder``."""
    missing = [folder]
    while not missing[-1].exists() and missing[-1].parent != missing[-1]:
        missing.append(missing[-1].parent)
    folder.mkdir(mode, parents=True, exist_ok=True)
    for above in missing[1:]:
        sync_folder(above)


def sync_file(path: Path) -> None:
    """Wait until the content of ``path`` is on the disk."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Wait until the names in ``folder`` are on the disk; a system that cannot do so for folders is left alone."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # as Windows says of every folder
        return
    try:
        os.fsync(handle)
    except OSError as exc:
        if exc.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)


def remove_partial(folder: Path, *, below: bool = False) -> None:
    """Remove what killed writers left in ``folder``, and in those ``below`` it; nobody may be writing there now."""
    for path in (folder.rglob if below else folder.glob)(f".*{PARTIAL}"):
        path.unlink(missing_ok=True)


def is_partial(path: Path) -> bool:
    """Whether the name is that of a file that is being written, or was when its writer was killed."""
    return path.name.startswith(".") and path.name.endswith(PARTIAL)


def _temporary(path: Path) -> Path:
    """A name that nobody else uses, and that is no longer than a file system allows (255 bytes)."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:24]
    token = f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".{path.name[:40]}.{token}{PARTIAL}")
