"""Aggregators that learn: trained on groups of training patients, chosen on those of validation, blind to others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from dbtssl.data.records import Label
from dbtssl.errors import ConfigError, DataError
from dbtssl.evaluation.selection import refuse_shared
from dbtssl.evaluation.units import apply, slice_groups, volume_groups

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from dbtssl.evaluation.predictions import Predictions
    from dbtssl.interfaces import Aggregator, Groups


@runtime_checkable
class Learned(Protocol):
    """What an aggregator has besides, if it learns. Its random numbers come from a seed in its Config."""

    def fit(self, train: Groups, val: Groups) -> None:
        """Learn from labelled groups; ``val`` chooses between settings and stops."""
        ...

    def state(self) -> dict[str, NDArray[np.float64]]:
        """What was learnt, as named arrays."""
        ...

    def load(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Take what `state` gave."""
        ...


def fit(
    patch: Aggregator, slice_: Aggregator, train: Predictions | None, val: Predictions | None
) -> None:
    """Train those of the two that learn: over the patches of a slice, and then over the slices of a volume."""
    learns = [a for a in (patch, slice_) if isinstance(a, Learned)]
    if not learns:
        return
    if train is None or val is None:
        raise ConfigError(
            f"aggregator {type(learns[0]).__name__} learns and needs predictions of training and validation patients",
            hint="give them with --train and --val",
        )
    refuse_shared(train, val, "the training and the validation predictions")
    if isinstance(patch, Learned):
        patch.fit(*(_labelled(slice_groups(p), p.abnormal) for p in (train, val)))
    if isinstance(slice_, Learned):
        groups = []
        for p in (train, val):
            of_slices = apply(patch, slice_groups(p), "slice")
            groups.append(_labelled(volume_groups(p, of_slices), p.labels >= Label.BENIGN))
        slice_.fit(*groups)


def save_state(patch: Aggregator, slice_: Aggregator) -> bytes:
    """What both have learnt as a safetensors file, names beginning with ``patch.`` and ``slice.``."""
    from safetensors.numpy import save

    places = {"patch": patch, "slice": slice_}
    state = {
        f"{place}.{name}": array
        for place, aggregator in places.items()
        if isinstance(aggregator, Learned)
        for name, array in aggregator.state().items()
    }
    return bytes(save(state))


def load_state(patch: Aggregator, slice_: Aggregator, path: Path) -> None:
    """Give both what `save_state` kept of them; `DataError` where it is not of these two."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        state = load_file(path)
    except (OSError, SafetensorError) as exc:
        raise DataError(
            f"{path} is no file of learned aggregators: {exc}",
            hint="give aggregators.safetensors of a score stage",
        ) from None
    for place, aggregator in (("patch", patch), ("slice", slice_)):
        own = {
            name.removeprefix(f"{place}."): array
            for name, array in state.items()
            if name.startswith(f"{place}.")
        }
        if isinstance(aggregator, Learned) != bool(own):
            raise DataError(
                f"{path} was not made with these aggregators: {', '.join(sorted(state)) or 'it is empty'}",
                hint="name the aggregators that it was made with",
            )
        if isinstance(aggregator, Learned):
            aggregator.load(own)


def _labelled(groups: Groups, labels: NDArray[np.bool_]) -> Groups:
    return replace(groups, labels=labels)
