"""The one exception tree. A user's mistake is a `DbtsslError`: one message and the next step."""

from __future__ import annotations


class DbtsslError(Exception):
    """Something the user can mend; the command line prints it without a traceback, exit code 2.

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


class TrainingError(DbtsslError):
    """A training cannot go on: its loss is no longer a finite number, or its features have collapsed."""


class PluginError(DbtsslError):
    """A plugin cannot be used; the message names its distribution."""
