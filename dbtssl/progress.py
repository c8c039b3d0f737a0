"""Progress of long steps: a rich bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import TaskID

PLAIN_EVERY = 10.0  # seconds between plain lines

console = Console(stderr=True)


class Ticker(Protocol):
    """What a long step calls."""

    def advance(self, n: int = 1, note: str = "", size: int = 0) -> None:
        """``n`` more units are done, of ``size`` bytes; ``note`` is shown beside the bar."""
        ...


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        text = "" if speed is None else f"{_figures(speed)} {task.fields['unit']}/s"
        if text and task.fields["size"] and task.elapsed:
            text += f", {_figures(task.fields['size'] / task.elapsed / 1e6)} MB/s"
        return Text(text, style="dim")


class _Bar:
    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars, self._task, self._size = bars, task, 0

    def advance(self, n: int = 1, note: str = "", size: int = 0) -> None:
        self._size += size
        self._bars.update(self._task, advance=n, note=note, size=self._size)


class _Lines:
    def __init__(self, total: int, what: str, unit: str, bytes_: int = 0) -> None:
        self.total, self.what, self.unit, self.bytes = total, what, unit, bytes_
        self.done, self.size, self.note = 0, 0, ""
        self.start = time.monotonic()
        self.next = self.start + PLAIN_EVERY

    def advance(self, n: int = 1, note: str = "", size: int = 0) -> None:
        self.done += n
        self.size += size
        self.note = note
        now = time.monotonic()
        if now >= self.next:
            self.next = now + PLAIN_EVERY
            self.write(f"{self._left(now - self.start)} left")

    def _left(self, seconds: float) -> str:
        if not self.done:
            return "unknown time"
        share = self.size / self.bytes if self.bytes else self.done / self.total
        return f"{seconds / share - seconds:.0f} s" if share else "unknown time"

    def write(self, clock: str) -> None:
        seconds = time.monotonic() - self.start
        parts = [f"{self.what}: {self.done}/{self.total} {self.unit}"]
        parts += [f"{_figures(self.done / seconds)}/s"] if seconds else []
        parts += [f"{_figures(self.size / seconds / 1e6)} MB/s"] if seconds and self.bytes else []
        tail = f"  {self.note}" if self.note else ""
        print(f"{', '.join([*parts, clock])}{tail}", file=sys.stderr, flush=True)


@contextmanager
def progress(what: str, total: int, unit: str = "it", size: int = 0) -> Iterator[Ticker]:
    """Show ``what`` going from 0 to ``total``; the last plain line is always written.

    Where units differ in size, ``size`` is that of all in bytes: MB/s are shown, and plain lines estimate the time left
    by bytes.

    A step within a step adds a second bar below the first, for as long as it runs.
    """
    if console.is_terminal:
        with _display() as bars:
            task = bars.add_task(what, total=total, unit=unit, note="", size=0)
            try:
                yield _Bar(bars, task)
            finally:
                if len(bars.tasks) > 1:
                    bars.remove_task(task)
        return
    lines = _Lines(total, what, unit, size)
    try:
        yield lines
    finally:
        lines.write(f"took {time.monotonic() - lines.start:.0f} s")


def say(text: str) -> None:
    """One line on the screen, above the bars where there are some."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


_open: list[Progress] = []  # rich draws one live display at a time, so nested steps share it


@contextmanager
def _display() -> Iterator[Progress]:
    if _open:
        yield _open[0]
        return
    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
        console=console,
    )
    with bars:
        _open.append(bars)
        try:
            yield bars
        finally:
            _open.clear()


def _figures(rate: float) -> str:
    """Three figures, and no exponent for a large number."""
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}"
