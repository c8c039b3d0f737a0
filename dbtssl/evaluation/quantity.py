"""A number with a name, a unit and a range: what is needed to check it and to print it.

This module imports nothing, so that every layer can use it. The quantities themselves are the entries of
`dbtssl.evaluation.catalogue`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Direction = Literal["higher", "lower", ""]

EQUAL_DECIMALS = 12
"""Values of a metric that agree to this many decimals are equal and share a rank."""


@dataclass(frozen=True)
class Quantity:
    """What is printed. ``percent`` is a fraction that is printed times 100; ``low`` and ``high`` bound the values."""

    name: str
    label: str
    meaning: str
    unit: Literal["percent", "plain"] = "percent"
    decimals: int = 1  # of the printed number
    direction: Direction = "higher"  # which values are better; empty: not ranked
    low: float | None = 0.0
    high: float | None = 1.0

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies in the range."""
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)

    @property
    def range(self) -> str:
        """The range as text: ``[0, 1]``; an open end is left empty."""
        low, high = ("" if end is None else f"{end:g}" for end in (self.low, self.high))
        return f"[{low}, {high}]"

    def show(self, value: float) -> str:
        """The printed number, without the percent sign."""
        return f"{100 * value if self.unit == 'percent' else value:.{self.decimals}f}"


def catalogue() -> Mapping[str, Quantity]:
    """Every metric by name, for the modules below `dbtssl.evaluation.catalogue`, which cannot import it.

    Its entries hold their computations, so it is imported only when this is first called.
    """
    found: Mapping[str, Quantity] = import_module("dbtssl.evaluation.catalogue").CATALOGUE
    return found
