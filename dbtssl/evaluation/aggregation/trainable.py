"""Aggregators that learn: trained on groups of training patients, chosen on those of validation, blind to others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dbtssl.data.records import Label
from dbtssl.errors import ConfigError, DataError, system_error
from dbtssl.evaluation.aggregation.apply import apply, slice_groups, volume_groups
from dbtssl.evaluation.aggregation.checked_aggregator import learn, of_level
from dbtssl.evaluation.predictions.selection import refuse_shared
from dbtssl.interfaces import Trainable
from dbtssl.interfaces.boundary import calling

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dbtssl.evaluation.predictions.prediction_table import Predictions
    from dbtssl.interfaces import Aggregator, Groups, Level


def fit(
    patch: Aggregator, slice_: Aggregator, train: Predictions | None, val: Predictions | None
) -> None:
    """Train those of the two that learn: over the patches of a slice, and then over the slices of a volume."""
    learns = [a for a in (patch, slice_) if isinstance(a, Trainable)]
    if not learns:
        return
    if train is None or val is None:
        raise ConfigError(
            f"aggregator {type(learns[0]).__name__} learns and needs predictions of training and validation patients",
            hint="give them with --train and --val",
        )
    refuse_shared(train, val, "the training and the validation predictions")
    if isinstance(patch, Trainable):
        of_train, of_val = (_labelled(slice_groups(p), p.abnormal) for p in (train, val))
        learn(patch, of_train, of_val, "slice")
    if isinstance(slice_, Trainable):
        of_volumes = []
        for p in (train, val):
            of_slices = apply(patch, slice_groups(p), "slice")
            of_volumes.append(_labelled(volume_groups(p, of_slices), p.labels >= Label.BENIGN))
        learn(slice_, of_volumes[0], of_volumes[1], "volume")


def save_state(patch: Aggregator, slice_: Aggregator) -> bytes:
    """What both have learnt as a safetensors file, names beginning with ``patch.`` and ``slice.``."""
    from safetensors.numpy import save

    places: tuple[tuple[str, Aggregator, Level], ...] = (
        ("patch", patch, "slice"),
        ("slice", slice_, "volume"),
    )
    state: dict[str, NDArray[np.float64]] = {}
    for place, aggregator, level in places:
        if isinstance(aggregator, Trainable):
            with calling(of_level(level), f"state of {type(aggregator).__name__}"):
                kept = {f"{place}.{name}": np.asarray(x) for name, x in aggregator.state().items()}
            state |= kept
    return bytes(save(state))


def load_state(patch: Aggregator, slice_: Aggregator, path: Path) -> None:
    """Give both what `save_state` kept of them; `DataError` where it is not of these two."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        state = load_file(path)
    except (OSError, SafetensorError) as exc:
        if error := system_error(exc, f"{path} cannot be read"):
            raise error from exc
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
        if isinstance(aggregator, Trainable) != bool(own):
            raise DataError(
                f"{path} was not made with these aggregators: {', '.join(sorted(state)) or 'it is empty'}",
                hint="name the aggregators that it was made with",
            )
        if isinstance(aggregator, Trainable):
            aggregator.load(own)


def _labelled(groups: Groups, labels: NDArray[np.bool_]) -> Groups:
    return replace(groups, labels=labels)
