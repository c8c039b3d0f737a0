"""The log of a training: one JSON object a line, cut back to the checkpoint when training goes on."""

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
        self.count = 0

    def add(self, values: dict[str, torch.Tensor]) -> None:
        """Add one step's values; every step has the same names."""
        self.count += 1
        for name, value in values.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()

    def means(self) -> dict[str, float]:
        """The means so far."""
        return {name: float(total) / self.count for name, total in self.sums.items()}

    def state_dict(self) -> dict[str, Any]:
        """Sums and count."""
        return {"sums": dict(self.sums), "count": self.count}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from `state_dict`."""
        self.sums = {name: value.to(device) for name, value in state["sums"].items()}
        self.count = state["count"]


def append_line(path: Path, values: dict[str, Any]) -> None:
    """Add one line."""
    append_text(path, json.dumps(values) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All lines, none where there is no log."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def length(path: Path) -> int:
    """Bytes in the log, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def cut_back(path: Path, to: int) -> None:
    """Drop what was written after the first ``to`` bytes: the steps that will be done again."""
    if length(path) > to:
        os.truncate(path, to)
