from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from dbtssl import progress as module
from dbtssl.progress import PLAIN_EVERY, progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(module.time, "monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def terminal(monkeypatch):
    """A console that takes itself for a wide terminal, and what it wrote."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    monkeypatch.setattr(module, "console", console)
    return screen


@pytest.fixture
def no_terminal(monkeypatch):
    monkeypatch.setattr(module, "console", Console(file=io.StringIO(), force_terminal=False))


@pytest.mark.usefixtures("no_terminal")
def test_plain_lines_come_with_rate_and_time_left(clock, capsys):
    with progress("preparing", 40, "volumes") as step:
        clock.now += PLAIN_EVERY / 2
        step.advance(5)
        assert capsys.readouterr().err == ""
        clock.now += PLAIN_EVERY / 2
        step.advance(5, note="v9")
        assert capsys.readouterr().err == "preparing: 10/40 volumes, 1/s, 30 s left  v9\n"
        clock.now += 10
        step.advance(30)
        capsys.readouterr()
    assert capsys.readouterr() == ("", "preparing: 40/40 volumes, 2/s, took 20 s\n")


@pytest.mark.usefixtures("no_terminal")
def test_the_last_plain_line_is_written_when_the_step_fails(clock, capsys):
    def train():
        with progress("training", 10, "steps") as step:
            clock.now += 2
            step.advance(4)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert capsys.readouterr().err == "training: 4/10 steps, 2/s, took 2 s\n"


@pytest.mark.usefixtures("no_terminal")
def test_nothing_to_do_is_one_line_without_a_rate(clock, capsys):
    with progress("preparing", 0):
        pass
    assert capsys.readouterr().err == "preparing: 0/0 it, took 0 s\n"


@pytest.mark.usefixtures("no_terminal")
def test_before_the_first_unit_the_time_left_is_unknown(clock, capsys):
    with progress("preparing", 5) as step:
        clock.now += PLAIN_EVERY
        step.advance(0)
    assert capsys.readouterr().err.splitlines()[0] == "preparing: 0/5 it, 0/s, unknown time left"


@pytest.mark.parametrize(
    ("rate", "text"), [(0.01234, "0.0123"), (12.34, "12.3"), (99.96, "100"), (123456.7, "123457")]
)
def test_a_rate_has_three_figures_and_no_exponent(rate, text):
    assert module._figures(rate) == text


def test_a_terminal_gets_a_bar(terminal):
    with progress("reading [b]", 3, "slices") as step:
        step.advance(1)
        step.advance(2, note="patient [1/2]")
    shown = terminal.getvalue()
    assert "reading [b]" in shown
    assert "3/3" in shown
    assert "slices/s" in shown
    assert "patient [1/2]" in shown


def test_a_step_within_a_step_shares_the_display(terminal):
    with progress("outer", 2) as outer:
        outer.advance()
        with progress("inner", 5, "steps") as inner:
            inner.advance(5)
            module._open[0].refresh()
        assert [task.description for task in module._open[0].tasks] == ["outer"]
        outer.advance()
    assert module._open == []
    shown = terminal.getvalue()
    assert "inner" in shown
    assert "5/5" in shown
    assert "2/2" in shown


def test_a_step_that_fails_on_a_terminal_closes_its_display(terminal):
    with pytest.raises(RuntimeError), progress("outer", 2):
        raise RuntimeError
    assert module._open == []
    with progress("next", 1) as step:
        step.advance()
    assert "1/1" in terminal.getvalue()


@pytest.mark.usefixtures("no_terminal")
def test_bytes_give_a_rate_and_decide_the_time_left(clock, capsys):
    """One volume of two is done, but only a quarter of the bytes."""
    with progress("prepare", 2, "volumes", size=400_000_000) as step:
        clock.now += PLAIN_EVERY
        step.advance(1, "P1", 100_000_000)
        assert capsys.readouterr().err == "prepare: 1/2 volumes, 0.1/s, 10 MB/s, 30 s left  P1\n"
        clock.now += 30
        step.advance(1, "P2", 300_000_000)
    assert (
        capsys.readouterr().err.splitlines()[-1]
        == "prepare: 2/2 volumes, 0.05/s, 10 MB/s, took 40 s  P2"
    )


def test_the_bar_shows_megabytes(terminal):
    with progress("prepare", 2, "volumes", size=2_000_000) as step:
        step.advance(1, "P1", 1_000_000)
        time.sleep(0.01)
        step.advance(1, "P2", 1_000_000)
    assert "MB/s" in terminal.getvalue()
