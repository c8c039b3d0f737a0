"""The two logs of a pretraining as event files for TensorBoard. Needs the extra ``tensorboard``."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

from torch.utils.tensorboard import SummaryWriter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class TensorBoardLog:
    """Event files in ``folder`` that hold what the logs hold, no more: older ones are removed at the first update.

    So a run that resumes from a checkpoint shows no step twice.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer: SummaryWriter | None = None
        self.written = [0, 0]

    def update(self, *logs: Sequence[dict[str, Any]]) -> None:
        """Add the new lines of the training's log and of the monitors', as ``train/NAME`` and ``monitors/NAME``."""
        if self.writer is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in self.folder.glob("events.out.tfevents.*"):
                path.unlink()
            self.writer = SummaryWriter(str(self.folder))
        for which, (group, lines) in enumerate(zip(("train", "monitors"), logs, strict=True)):
            for line in lines[self.written[which] :]:
                for name, value in line.items():
                    if isinstance(value, Real) and name not in ("epoch", "step"):
                        self.writer.add_scalar(f"{group}/{name}", float(value), line["step"])
            self.written[which] = len(lines)
        self.writer.flush()
