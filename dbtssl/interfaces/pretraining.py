"""Pretraining: which slices make a pair, and the loss on their views."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import nn

    from dbtssl.data.records import Cohort, SliceRef
    from dbtssl.interfaces.views import Batch, Step, ViewSpec

ExcludedKeys = Literal["none", "volume", "breast", "patient"]
"""Keys in a queue that are no negatives of a query: none, or those of its own volume, breast or patient."""


@runtime_checkable
class Sampler(Protocol):
    """Which slice is this slice's positive.

    The log of a pretraining has ``same_slice``, the share of pairs whose positive is the anchor itself. A sampler that
    needs a volume other than the anchor's, and falls back where there is none, says in its docstring to what; it may be
    a `HasPartner` too, and the log then has ``no_partner``, the share of volumes without one.

    The volumes of ``cohort`` have neither labels nor boxes; reading one is a `PluginError`. A positive of another
    patient is refused unless the class says ``crosses_patients = True``.
    """

    def positive(self, anchor: SliceRef, cohort: Cohort, rng: Generator) -> SliceRef:
        """Draw the positive of ``anchor``; every random number comes from ``rng``."""
        ...


@runtime_checkable
class Objective(Protocol):
    """A self-supervised objective: an ``nn.Module`` built as ``Cls(encoder, config=...)``; views in, loss out.

    ``encoder`` maps ``(B, 1, rows, columns)`` to ``(B, encoder.num_features)``. ``Step.loss`` is one number with a
    gradient, ``Step.logs`` are plain numbers. `encoder` has the names and shapes of the backbone's weights; where none
    of them was trained the row has a warning.

    It may be a `HasHead` (one logit that it learnt without labels), a `HasPlace` (logits of places), a
    `FreezesParameters` (some take no step for a time) and a `ReportsCollapse` (whether the training has collapsed) too.
    """

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
