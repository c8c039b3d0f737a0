"""The log of a training: one JSON object per line, cut back to the checkpoint when training resumes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from dbtssl.io import append_text

if TYPE_CHECKING:
    from pathlib import Path

    import torch


class Means:
    """Running means of scalars; tensors are summed where they are, so that a step waits for no device."""

    def __init__(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, values: dict[str, torch.Tensor]) -> None:
        """Add one step's values; a name that not every step has is a mean over those that have it."""
        for name, value in values.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """The means so far."""
        return {name: float(total) / self.counts[name] for name, total in self.sums.items()}

    def state_dict(self) -> dict[str, Any]:
        """Sums and counts."""
        return {"sums": dict(self.sums), "counts": dict(self.counts)}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Resume from `state_dict`."""
        self.sums = {name: value.to(device) for name, value in state["sums"].items()}
        self.counts = dict(state["counts"])


def append_line(path: Path, values: dict[str, Any]) -> None:
    """Add one line."""
    append_text(path, json.dumps(values) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All lines, none if there is no log."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def length(path: Path) -> int:
    """Size of the log in bytes; 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def cut_back(path: Path, to: int) -> None:
    """Drop what was written after the first ``to`` bytes: the steps that will be done again."""
    if length(path) > to:
        os.truncate(path, to)
