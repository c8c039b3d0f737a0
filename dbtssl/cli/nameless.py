"""A user without a name: a container that runs under a number that the system does not know."""

from __future__ import annotations

import getpass
import os


def name_the_nameless() -> None:
    """Give the user the number as a name, for this process and its children: torch asks for one on import and dies."""
    try:
        getpass.getuser()
    except (
        KeyError,
        OSError,
        ImportError,
    ):  # OSError from Python 3.13 on, ImportError where there is no passwd
        os.environ["LOGNAME"] = f"user-{os.getuid()}" if hasattr(os, "getuid") else "user"
