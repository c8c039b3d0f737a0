"""What a component may be able to do besides what its kind demands, each a protocol of its own.

The class decides, not the instance: ``self.head = nn.Linear(...)`` in a constructor is no `HasHead`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, TypeVar, cast, runtime_checkable

from typing_extensions import get_protocol_members

from dbtssl.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from dbtssl.data.records import Cohort
    from dbtssl.interfaces.aggregation import Groups

T = TypeVar("T")


@runtime_checkable
class HasHead(Protocol):
    """An objective that learns to tell something abnormal without labels."""

    def head(self) -> nn.Linear:
        """One logit on the encoder's features. It is kept beside the encoder; a fine-tuner finds it in `Run.head`."""
        ...


@runtime_checkable
class HasPlace(Protocol):
    """An objective that learns where something is."""

    def place(self) -> nn.Module:
        """From the encoder's places ``(B, P, C)`` (`places_and_pooled`) to logits ``(B, P, 1)``; kept for maps."""
        ...


@runtime_checkable
class ReportsCollapse(Protocol):
    """An objective that can tell a collapse."""

    def collapsed(self, means: Mapping[str, float]) -> str:
        """One sentence that says what has collapsed ends the training; an empty text lets it go on.

        It is asked at the end of each epoch with the epoch's means of what ``Step.logs`` names.
        """
        ...


@runtime_checkable
class FreezesParameters(Protocol):
    """An objective some of whose parameters take no step for a time."""

    def before_step(self) -> None:
        """Called between the backward pass and the optimiser's step.

        A parameter whose ``grad`` it sets to None gets neither a step nor weight decay, and counts in no clipped norm.
        """
        ...


@runtime_checkable
class HasPartner(Protocol):
    """A sampler that needs a volume other than the anchor's, and falls back where there is none."""

    def has_partner(self, volume: int, cohort: Cohort) -> bool:
        """Whether ``volume`` has such another; the log has ``no_partner``, the share of volumes without."""
        ...


@runtime_checkable
class BuildsClassifier(Protocol):
    """A fine-tuner whose network is no `PatchClassifier`."""

    def classifier(self, encoder: nn.Module) -> nn.Module:
        """The network, untrained, so that its weights can be loaded again."""
        ...


@runtime_checkable
class Trainable(Protocol):
    """An aggregator that learns. Its random numbers come from a seed in its Config."""

    def fit(self, train: Groups, val: Groups) -> None:
        """Learn from labelled groups; ``val`` chooses between settings and stops."""
        ...

    def state(self) -> dict[str, NDArray[np.float64]]:
        """What was learnt, as named arrays."""
        ...

    def load(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Take what `state` gave."""
        ...


@runtime_checkable
class SaysPublic(Protocol):
    """A source that says whether its ids are published ones that name nobody; without it they become keyed hashes."""

    public: bool


ABILITIES: dict[str, tuple[Any, ...]] = {
    "sampler": (HasPartner,),
    "objective": (HasHead, HasPlace, ReportsCollapse, FreezesParameters),
    "finetuner": (BuildsClassifier,),
    "aggregator": (Trainable,),
    "source": (SaysPublic,),
    "method": (),
    "backbone": (),
}
"""Kind -> what its components may be able to do."""


def able(component: object, ability: Callable[..., T]) -> TypeGuard[T]:
    """Whether a component, or a class of components, has the methods of ``ability``, by its class alone.

    ``isinstance`` would also count what a constructor sets.
    """
    cls = component if isinstance(component, type) else type(component)
    members = get_protocol_members(cast("type", ability))
    return all(callable(getattr(cls, name, None)) for name in members)


def has_public_ids(source: object) -> bool:
    """Whether a source says that its ids are public; `PluginError` where it says neither yes nor no."""
    if not isinstance(source, SaysPublic):
        return False
    if not isinstance(source.public, bool):
        raise PluginError(
            f"{type(source).__name__}.public is {source.public!r}, expected True or False",
            hint="True keeps patient and study ids as they are; False, or no `public`, makes keyed hashes of them",
        )
    return source.public
