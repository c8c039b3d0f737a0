"""Scored units of one level: what every metric is computed from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dbtssl.interfaces import Level


@dataclass(frozen=True)
class ScoreSet:
    """One score for each unit of a level: unit ids, integer ids of patients, labels and scores, all ``(n,)``.

    ``depth`` ``(n,)`` is where slices lie in their stacks, slice over slices; None for other units.
    """

    level: Level
    ids: tuple[str, ...]
    patients: NDArray[np.int64]
    abnormal: NDArray[np.bool_]
    scores: NDArray[np.float64]
    depth: NDArray[np.float64] | None = None

    @cached_property
    def evaluation_set(self) -> str:
        """SHA-256 of the sorted (id, label) pairs, in hex: equal for rows that may be ranked together."""
        lines = sorted(f"{i}\t{int(a)}\n" for i, a in zip(self.ids, self.abnormal, strict=True))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def only(self, keep: NDArray[np.bool_]) -> ScoreSet:
        """The units of ``keep``, ``(n,)``, alone; patients keep their ids."""
        return self.taken(np.flatnonzero(keep))

    def taken(self, order: NDArray[np.int64]) -> ScoreSet:
        """The units at ``order``, in that order; patients keep their ids."""
        return replace(
            self,
            ids=tuple(self.ids[i] for i in order),
            patients=self.patients[order],
            abnormal=self.abnormal[order],
            scores=self.scores[order],
            depth=None if self.depth is None else self.depth[order],
        )


def codes(names: Sequence[str]) -> NDArray[np.int64]:
    """Integer ids 0 .. K - 1 in order of the names."""
    return np.unique(np.array(names, dtype=np.str_), return_inverse=True)[1].astype(np.int64)


class Counts(NamedTuple):
    """True and false, abnormal (positive) and normal (negative)."""

    tp: int
    fp: int
    tn: int
    fn: int


def counts_at(abnormal: NDArray[np.bool_], scores: NDArray[np.float64], threshold: float) -> Counts:
    """Counts when a score strictly above ``threshold`` is called abnormal."""
    called = scores > threshold
    tp, fp = int((called & abnormal).sum()), int((called & ~abnormal).sum())
    return Counts(tp, fp, int((~abnormal).sum()) - fp, int(abnormal.sum()) - tp)
