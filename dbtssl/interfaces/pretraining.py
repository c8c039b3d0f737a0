"""Pretraining: which slices make a pair, and the loss on their views."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import nn

    from dbtssl.config import Config
    from dbtssl.data.records import Cohort, SliceRef
    from dbtssl.interfaces.views import Batch, Step, ViewSpec


@runtime_checkable
class Sampler(Protocol):
    """Which slice is this slice's positive.

    The log of a pretraining has ``same_slice``, the share of pairs whose positive is the anchor itself. A sampler that
    needs a volume other than the anchor's, and falls back where there is none, says in its docstring to what; it may
    have a second method, ``has_partner(volume: int, cohort: Cohort) -> bool``, and the log then has ``no_partner``,
    the share of volumes for which it is false.

    The volumes of ``cohort`` have neither labels nor boxes; reading one is a `PluginError`. A positive of another
    patient is refused unless the class says ``crosses_patients = True``.
    """

    Config: ClassVar[type[Config]]

    def positive(self, anchor: SliceRef, cohort: Cohort, rng: Generator) -> SliceRef:
        """Draw the positive of ``anchor``; every random number comes from ``rng``."""
        ...


@runtime_checkable
class Objective(Protocol):
    """A self-supervised objective: an ``nn.Module`` built as ``Cls(encoder, **config)``; views in, loss out.

    ``encoder`` maps ``(B, 1, rows, columns)`` to ``(B, encoder.num_features)``. ``Step.loss`` is one number with a
    gradient, ``Step.logs`` are plain numbers. `encoder` has the names and shapes of the backbone's weights; where none
    of them was trained the row has a warning.

    An objective that learns to tell something abnormal without labels may have a method ``head() -> nn.Linear``: one
    logit on those features. It is kept beside the encoder, and a fine-tuner finds it in `Run.head`. One that learns
    where may have ``place() -> nn.Module``: from the encoder's places ``(B, P, C)`` (`places_and_pooled`) to logits
    ``(B, P, 1)``. It is kept as well, for maps.

    An objective that can tell a collapse may have a method ``collapsed(means: Mapping[str, float]) -> str``. It is
    asked at the end of each epoch, with the epoch's means of what ``Step.logs`` names: one sentence that says what has
    collapsed ends the training with a `TrainingError`, an empty string lets it go on.
    """

    Config: ClassVar[type[Config]]
    views: tuple[ViewSpec, ...]

    def __call__(self, batch: Batch) -> Step:
        """One training step's loss."""
        ...

    def after_step(self, progress: float) -> None:
        """Momentum, queue and schedules, after the optimiser's step; ``progress`` runs from 0 to 1."""
        ...

    def encoder(self) -> nn.Module:
        """The network that is kept."""
        ...
