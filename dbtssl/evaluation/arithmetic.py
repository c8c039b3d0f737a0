"""What printed rates imply: how many normals a row of a table was scored on.

NPV is TN / (TN + FN). FN follows from the recall of abnormals and their number, TN is the recall of normals times the
number of normals; so NPV, both recalls and the number of abnormals give the number of normals, within rounding.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from dbtssl.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

HALF_DIGIT = 0.005  # of a percentage with two decimals
CUT = 0.01  # the most that a percentage loses where it was cut, not rounded
ROUNDING = 1e-9  # of binary fractions


class Implied(NamedTuple):
    """The least and the greatest number of normals; ``high`` is infinite where NPV rounds to 100 %."""

    low: float
    high: float

    def holds(self, normals: int) -> bool:
        """Whether the row may have been scored on so many."""
        return self.low <= normals <= self.high


def implied_normals(npv: float, nr: float, ar: float, abnormals: int) -> Implied:
    """From NPV, NR and AR in percent, as printed with two decimals, on ``abnormals`` units.

    `DataError` where no whole number of abnormals gives AR.
    """
    missed = whole_misses(ar, abnormals)
    least, most = (npv - HALF_DIGIT) / 100, (npv + HALF_DIGIT) / 100
    low = missed * least / (1 - least) / ((nr + HALF_DIGIT) / 100)
    if missed == 0 or most >= 1:
        return Implied(low, math.inf)
    return Implied(low, missed * most / (1 - most) / ((nr - HALF_DIGIT) / 100))


def whole_misses(ar: float, abnormals: int) -> int:
    """Abnormals that are called normal at a recall ``ar`` in percent, rounded or cut to two decimals."""
    missed = round(abnormals * (1 - ar / 100))
    exact = 100 * (abnormals - missed) / abnormals
    if not -HALF_DIGIT - ROUNDING <= exact - ar <= CUT + ROUNDING:
        raise DataError(
            f"AR {ar} % is no whole number of {abnormals} abnormals; the nearest is {exact:.4f} %",
            hint="check the number of abnormals",
        )
    return missed


def common(rows: Sequence[Implied]) -> Implied:
    """What all ``rows`` allow; empty where ``low`` is above ``high``."""
    return Implied(max(row.low for row in rows), min(row.high for row in rows))


def npv_of_all_normal(normals: int, abnormals: int) -> float:
    """NPV in percent of calling everything normal: the share of normals."""
    return 100 * normals / (normals + abnormals)
