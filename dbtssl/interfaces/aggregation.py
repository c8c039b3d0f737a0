"""From the logits of patches to scores of slices, volumes, breasts and patients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


Level = Literal["slice", "volume", "breast", "patient"]
"""What a score belongs to."""


@dataclass(frozen=True)
class Groups:
    """Ragged groups: the values of group ``g``, and its rows of ``features``, are ``offsets[g]:offsets[g + 1]``.

    ``labels``, for training alone, says which groups are abnormal."""

    values: NDArray[np.float64]
    offsets: NDArray[np.int64]
    features: NDArray[np.float32] | None = None
    labels: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1


@runtime_checkable
class Aggregator(Protocol):
    """Ragged groups in, one logit for each group out; the arrays of the groups are read-only.

    One that learns is a `Trainable` too.
    """

    level: ClassVar[Level | Literal["any"]]
    needs: ClassVar[Literal["logits", "features"]]

    def __call__(self, groups: Groups) -> NDArray[np.float64]:
        """One score a group, shape ``(len(groups),)``, on the logit scale. No group is empty."""
        ...
