"""A function over many items, in processes that end with the run: at Ctrl-C, at an error, and with a killed parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, TypeVar

from dbtssl.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from multiprocessing.synchronize import Event

K = TypeVar("K")
A = TypeVar("A")
R = TypeVar("R")


class Interrupted(Exception):  # noqa: N818 - it is no error
    """The run was asked to stop; what was begun is left unwritten."""


def each(
    function: Callable[[A, Callable[[], bool]], R], items: Mapping[K, A], jobs: int
) -> Generator[tuple[K, R]]:
    """Yield ``key, function(item, stop)`` as results come, from ``jobs`` processes, or from this one if it is 1.

    ``function`` is a module's own, and should raise `Interrupted` soon after ``stop()`` becomes true. Close the
    generator (`contextlib.closing`), so that the processes end with the loop.
    """
    if jobs == 1:
        for key, item in items.items():
            yield key, function(item, _never)
        return
    # not fork: the calling process may have threads (torch, a progress bar)
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(jobs, context, _start, (stop,))
    try:
        futures = {pool.submit(_call, function, item): key for key, item in items.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise DataError(
            "a worker process was killed, most likely for lack of memory",
            hint="run again with fewer --jobs; what is finished is kept",
        ) from None
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _never() -> bool:
    return False


_stop: Event | None = None  # of this worker process, set by _start


def _start(stop: Event) -> None:
    global _stop
    _stop = stop
    sys.stdout = (
        sys.stderr
    )  # a plugin that prints when it is imported; the parent's stdout may be JSON
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which sets ``stop``
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _call(function: Callable[[A, Callable[[], bool]], R], item: A) -> R:
    return function(item, _stop.is_set if _stop else _never)
