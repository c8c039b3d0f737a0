"""What the plain dataclasses of the interfaces refuse where they are written: wrong words and numbers out of range."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from dbtssl.config import did_you_mean
from dbtssl.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Sequence


def one_of(owner: str, name: str, value: Any, known: Sequence[str]) -> None:
    """Refuse a word that is none of ``known``."""
    if value not in known:
        near = did_you_mean(value, known) if isinstance(value, str) else ""
        raise PluginError(
            f"{owner}: {name} is {value!r}, expected one of {', '.join(map(repr, known))}.{near}",
            hint=f"correct {name}",
        )


def whole(owner: str, name: str, value: Any, least: int) -> None:
    """Refuse anything but an integer from ``least`` on."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise PluginError(
            f"{owner}: {name} is {value!r}, expected an integer of {least} or more",
            hint=f"correct {name}",
        )


def within(owner: str, name: str, value: Any, low: float, high: float, what: str) -> None:
    """Refuse anything but a number in ``[low, high]``; ``what`` says which kind of number it is."""
    if not _is_number(value) or not low <= value <= high:
        raise PluginError(
            f"{owner}: {name} is {value!r}, expected a number from {low:g} to {high:g} ({what})",
            hint=f"correct {name}",
        )


def rising(
    owner: str,
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    what: str = "numbers",
) -> None:
    """Refuse anything but two numbers, the first not above the second, both within the bounds."""
    pair = tuple(value) if isinstance(value, tuple | list) else ()
    good = len(pair) == 2 and all(map(_is_number, pair)) and pair[0] <= pair[1]
    good = good and (above is None or pair[0] > above) and (least is None or pair[0] >= least)
    if not good or (most is not None and pair[1] > most):
        bounds = [f"above {above:g}"] if above is not None else []
        bounds += [f"from {least:g} on"] if least is not None else []
        bounds += [f"up to {most:g}"] if most is not None else []
        raise PluginError(
            f"{owner}: {name} is {value!r}, expected two rising {what} {' and '.join(bounds)}",
            hint=f"correct {name}",
        )


def _is_number(value: Any) -> bool:
    """NaN is none: no comparison holds for it."""
    return isinstance(value, Real) and not isinstance(value, bool) and value == value
