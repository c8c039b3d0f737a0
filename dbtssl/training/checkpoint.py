"""Checkpoints of a training loop: one file, written beside itself and renamed, read without running code.

Fabric's own save is not used: its file is moved in from the system's temporary folder, which is atomic only
on the same file system.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dbtssl.errors import DbtsslError, system_error
from dbtssl.io import atomic_file

if TYPE_CHECKING:
    from pathlib import Path


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors and plain values) so that ``path`` is either the old file or the new one.

    A number of numpy is written as Python's: torch 2.10 would refuse to read it.
    """
    try:
        with atomic_file(path) as file:
            torch.save(_plain(state), file)
    except (OSError, RuntimeError) as exc:  # torch hides a full disk in a RuntimeError
        raise DbtsslError(
            f"cannot write the checkpoint {path}: {exc}",
            hint="free some disk space and run the same command again; it resumes from the last checkpoint",
        ) from exc


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {key: _plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(item) for item in value)
    return value


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state at ``path``, on the CPU, or None if there is none; nothing but tensors and plain values is read."""
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as exc:
        if error := system_error(exc, f"{path} cannot be read"):
            raise error from exc
        raise DbtsslError(
            f"{path} cannot be read as a checkpoint: {exc}",
            hint="delete it to start this training from the beginning",
        ) from exc
    return state
