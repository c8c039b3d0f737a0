"""The one exception tree. A user's mistake is a `DbtsslError`: one message and the next step."""

from __future__ import annotations

import errno
import os


class DbtsslError(Exception):
    """Something the user can fix; the command line prints it without a traceback, exit code 2.

    ``message`` says what is wrong, where, what was found and what was expected; ``hint`` is the next step.
    ``component`` is the kind of the component that it was raised by or about, empty where it is of none.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.component = ""

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class ConfigError(DbtsslError):
    """A specification, option or configuration key is wrong."""


class DataError(DbtsslError):
    """A table, a folder, a DICOM file or a prepared data set is not what it should be."""


class MachineError(DataError):
    """The machine failed, not the file: too many open files, no memory, a network disk that went away.

    Such a failure goes away with its cause, so the file is neither damaged nor to be left out.
    """


class TrainingError(DbtsslError):
    """A training cannot go on: its loss is no longer a finite number, or its features have collapsed."""


class PluginError(DbtsslError):
    """A plugin cannot be used; the message names its distribution."""


_OPEN = "the limit of open files, not the file: raise it (ulimit -n 65536) or use fewer processes, then run again"
_MEMORY = "the machine's memory, not the file: use fewer processes (--jobs), or a machine with more, then run again"
_NETWORK = "the network disk, not the file: check the mount, then run the same command again"
_MACHINE = {
    errno.EMFILE: _OPEN,
    errno.ENFILE: _OPEN,
    errno.ENOMEM: _MEMORY,
    **dict.fromkeys(
        (
            *(errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ECONNRESET, errno.ECONNABORTED),
            *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ENODEV),
        ),
        _NETWORK,
    ),
}
_FILE = {
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM),
        "give the user who runs this the right to read it (ls -l shows the rights of the file and its folders)",
    ),
    errno.EIO: "the disk or its connection failed: look at the disk's state and the system's log before anything else; "
    "the file may be whole",
    errno.ENOENT: "check the path; it may have been moved or removed while this ran",
    errno.ELOOP: "the symbolic link leads to itself: make it point to the file",
    errno.EISDIR: "expected a file, this is a folder",
}


def system_error(exc: BaseException, what: str) -> DataError | None:
    """The error to raise where the system failed rather than the content of a file; None where it did not.

    ``exc``, or one that it came from, is an `OSError` with a number or a `MemoryError`. Its reason stands behind
    ``what``; the hint is for that reason. `MachineError` where another file would have failed as well.
    """
    one: BaseException | None = exc
    while one is not None:
        if isinstance(one, MemoryError):
            return MachineError(f"{what}: not enough memory", hint=_MEMORY)
        if isinstance(one, OSError) and one.errno is not None:
            text = f"{what}: {os.strerror(one.errno)}"
            if one.errno in _MACHINE:
                return MachineError(text, hint=_MACHINE[one.errno])
            return DataError(text, hint=_FILE.get(one.errno, "check the disk"))
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return None
