from __future__ import annotations

import os
import time
from contextlib import closing

import pytest

from dbtssl.errors import DataError
from dbtssl.workers import Interrupted, cores, each


def _square(item, stop):
    return item * item


def _tell(item, stop):
    print("from a plugin", flush=True)


def _die(item, stop):
    os._exit(1)


def _wait(item, stop):
    if item == 0:
        raise DataError("item 0 is broken", hint="fix it")
    while not stop():
        time.sleep(0.01)
    raise Interrupted


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_result_comes_with_its_key(jobs):
    assert dict(each(_square, {"a": 2, "b": 3, "c": 4}, jobs)) == {"a": 4, "b": 9, "c": 16}


def test_what_a_worker_prints_does_not_reach_stdout(capfd):
    list(each(_tell, {0: 0}, 2))
    assert capfd.readouterr() == ("", "from a plugin\n")


def test_a_killed_worker_is_refused():
    with pytest.raises(DataError, match="a worker process was killed") as error:
        list(each(_die, {0: 0, 1: 1}, 2))
    assert "fewer --jobs" in error.value.hint


def test_an_error_stops_the_others_and_keeps_its_hint():
    with pytest.raises(DataError, match="item 0 is broken") as error:
        list(each(_wait, {i: i for i in range(10)}, 2))
    assert error.value.hint == "fix it"  # and the others, which wait for ``stop``, have ended


def test_closing_early_ends_the_workers():
    with closing(each(_square, {i: i for i in range(100)}, 2)) as results:
        assert next(results)[0] in range(100)


def test_there_is_a_core():
    assert 1 <= cores() <= (os.cpu_count() or 1)
