"""The content-addressed store of stage outputs: built in a work folder, manifest last, renamed in.

A folder in the store is complete by being there. A stage that was interrupted finds its work folder again and goes on.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from dbtssl import __version__
from dbtssl.config import digest
from dbtssl.errors import DataError
from dbtssl.io import remove_partial, rename, sync_file, write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

MANIFEST = "manifest.json"
RECORDED = (
    *("torch", "torchvision", "lightly", "timm", "numpy", "pydicom", "scipy", "scikit-learn"),
)


@dataclass(frozen=True)
class Stage:
    """A pure function from a resolved configuration and its parents' contents to a folder.

    ``config`` holds what decides the result, as plain JSON data; ``parents`` maps a role to the content hash of the
    output it reads; ``run(folder)`` leaves the files named in ``outputs`` in ``folder`` and may find there what an
    interrupted run of itself left. ``scratch`` names
    files that are removed once it is complete. ``version`` is raised when the stage's code changes its result.
    """

    name: str
    label: str
    version: int
    config: Mapping[str, Any]
    parents: Mapping[str, str]
    outputs: tuple[str, ...]
    run: Callable[[Path], None] = field(compare=False)
    scratch: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The folder's name: a hash of stage, version, configuration and parents."""
        return digest([self.name, self.version, self.config, dict(self.parents)])[:32]


@dataclass(frozen=True)
class Output:
    """A complete stage: its folder, and the hash of its result files."""

    folder: Path
    content: str
    seconds: float
    reused: bool


class Store:
    """Stage outputs below one root; safe for several processes at once."""

    def __init__(self, root: Path, conditions: Callable[[], dict[str, str]] | None = None) -> None:
        self.root = root
        self.conditions = conditions or environment  # what a stage is made under, for its manifest

    def path(self, name: str, key: str) -> Path:
        """Where the output of a stage is, or will be."""
        return self.root / name / key[:2] / key

    def find(self, stage: Stage) -> Output | None:
        """The complete output of ``stage``; None where it has not been made."""
        return self.open(stage.name, stage.key)

    def open(self, name: str, key: str) -> Output | None:
        """The complete output of the stage ``name`` under ``key``; None where it has not been made.

        Raises `DataError` where a result file is missing or has another size than its manifest says.
        """
        folder = self.path(name, key)
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            if folder.is_dir():
                raise _damaged(folder, "its manifest is missing") from None
            return None
        except json.JSONDecodeError:
            raise _damaged(folder, "its manifest is not JSON") from None
        for file_name, entry in manifest["files"].items():
            file = folder / file_name
            if not file.is_file() or file.stat().st_size != entry["bytes"]:
                raise _damaged(folder, f"{file_name} is missing or was changed")
        return Output(folder, manifest["content"], manifest["seconds"], reused=True)

    def get(self, stage: Stage) -> Output:
        """The output of ``stage``, made now if it is not there; one process makes it, others wait."""
        if found := self.find(stage):
            return found
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"{stage.name}-{stage.key}.lock"):
            if found := self.find(stage):
                return found
            return self._make(stage)

    def _make(self, stage: Stage) -> Output:
        work = self.root / ".work" / f"{stage.name}-{stage.key}"
        work.mkdir(parents=True, exist_ok=True)
        if not (work / MANIFEST).is_file():  # else it was killed between its last two steps
            remove_partial(work)
            start = time.monotonic()
            stage.run(work)
            self._seal(stage, work, round(time.monotonic() - start, 2))
        final = self.path(stage.name, stage.key)
        rename(work, final)
        for name in stage.scratch:
            (final / name).unlink(missing_ok=True)
        made = self.open(stage.name, stage.key)
        assert made is not None, "the manifest was written above"
        return replace(made, reused=False)

    def _seal(self, stage: Stage, work: Path, seconds: float) -> None:
        for name in stage.outputs:  # logs are appended to
            sync_file(work / name)
        files = {
            name: {"bytes": (work / name).stat().st_size, "sha256": file_hash(work / name)}
            for name in stage.outputs
        }
        content = digest({name: entry["sha256"] for name, entry in files.items()})
        manifest = {
            "stage": stage.name,
            "label": stage.label,
            "key": stage.key,
            "version": stage.version,
            "config": stage.config,
            "parents": dict(stage.parents),
            "content": content,
            "files": files,
            "seconds": seconds,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "environment": self.conditions(),
        }
        write_text(work / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def environment() -> dict[str, str]:
    """Versions that a result may depend on; nothing that names a person or a machine."""
    out = {"dbtssl": __version__, "python": platform.python_version(), "system": platform.system()}
    for name in RECORDED:
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    return out


def _damaged(folder: Path, why: str) -> DataError:
    return DataError(
        f"the stored result {folder} is damaged: {why}",
        hint="remove that folder and run again; only this stage is made again",
    )
