"""The user's own folders: ``~`` in a path, the cache and the configuration; refused by name where there is no home."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import platformdirs

from dbtssl.errors import ConfigError

VARIABLES = {"cache": "XDG_CACHE_HOME", "config": "XDG_CONFIG_HOME"}


def expanded(path: str | Path) -> Path:
    """``path`` with ``~`` as the home folder; `ConfigError` where the user has none, as in some containers."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(
            f"{path}: no home folder is known: HOME is not set, and the system does not know the user",
            hint="write the path in full, or set HOME",
        ) from None


def user_folder(kind: Literal["cache", "config"]) -> Path:
    """The folder of dbtssl in the user's cache or configuration; it need not exist. `ConfigError` as in `expanded`."""
    try:
        found = {
            "cache": platformdirs.user_cache_path,
            "config": platformdirs.user_config_path,
        }[kind]("dbtssl")
    except RuntimeError:  # newer platformdirs
        found = Path("~")
    if found.parts[:1] == (
        "~",
    ):  # older ones leave it as it is, and a folder "~" would be made here
        raise ConfigError(
            f"no folder for dbtssl's {kind} is known: HOME is not set, and the system does not know the user",
            hint=f"set HOME or {VARIABLES[kind]} to a folder that you may write to",
        )
    return found
