"""What a stage found that does not stop a row and must stand beside it: kept in its output, shown with its table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dbtssl.io import write_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dbtssl.engine.store import Output

WARNINGS = "warnings.json"


def write_warnings(folder: Path, sentences: Iterable[str]) -> None:
    """Keep what a stage found; a file without any says that there is none."""
    write_text(folder / WARNINGS, json.dumps([s for s in sentences if s]) + "\n")


def read_warnings(output: Output) -> tuple[str, ...]:
    """What the stage found; nothing of a stage that keeps none."""
    path = output.folder / WARNINGS
    if not path.is_file():
        return ()
    return tuple(json.loads(path.read_text(encoding="utf-8")))
