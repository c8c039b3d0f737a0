"""Fine-tuning: labelled slices in, a patch classifier out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from dbtssl.data.prepared.prepared_dataset import Slices
    from dbtssl.patches.patch_rule import PatchRule


@dataclass(frozen=True)
class Labelled:
    """Slices with labels: ``abnormal[i]`` is a bool array over the slices of ``slices.cohort[i]``."""

    slices: Slices
    abnormal: tuple[NDArray[np.bool_], ...]


@dataclass(frozen=True)
class Run:
    """What a fine-tuner needs besides the data: device, seed, patch rule, and a folder for its logs.

    ``head`` holds ``weight`` ``(1, num_features)`` and ``bias`` ``(1,)`` of the logit that the objective learnt without
    labels, where it has one. ``as_released`` is of protocol as-published: the epoch is chosen on patches that lie over
    the lesion in abnormal slices, and a new head begins as PyTorch's do.
    """

    seed: int
    patches: PatchRule
    folder: Path
    accelerator: str = "auto"
    workers: int = 0
    head: Mapping[str, torch.Tensor] | None = None
    as_released: bool = False


@runtime_checkable
class FineTuner(Protocol):
    """Encoder and labelled patients in, patch classifier out: ``(B, 1, S, S)`` to ``(B,)`` logits of *abnormal*.

    The classifier is a `PatchClassifier`; a fine-tuner that makes another network is a `BuildsClassifier` too. The
    network gives the same outputs after it was saved and loaded, so that all that ``fit`` learns is in parameters and
    buffers; outputs are logits, not probabilities.
    """

    def fit(self, encoder: nn.Module, train: Labelled, val: Labelled, run: Run) -> nn.Module:
        """Train on ``train``, choose on ``val``. The test split is no argument and out of reach."""
        ...
