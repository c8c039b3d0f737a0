"""The interfaces that carry the science: sampler, objective, fine-tuner, aggregator, method, source.

The core is written against these protocols and knows no method. Plugin authors import them from `dbtssl.api`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import Field

from dbtssl.config import Config
from dbtssl.interfaces.views import Crop as Crop
from dbtssl.interfaces.views import Photometry as Photometry
from dbtssl.interfaces.views import ViewSpec as ViewSpec  # noqa: TC001 (imported from here)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.random import Generator
    from numpy.typing import NDArray
    from torch import nn

    from dbtssl.data.dicom import Header
    from dbtssl.data.records import Cohort, SliceRef, Volume
    from dbtssl.data.store import Slices
    from dbtssl.inference.patches import PatchRule

Level = Literal["slice", "volume", "breast", "patient"]


@runtime_checkable
class Sampler(Protocol):
    """Which slice is this slice's positive.

    The log of a pretraining has ``same_slice``, the share of pairs whose positive is the anchor itself. A sampler that
    needs a volume other than the anchor's, and falls back where there is none, says in its docstring to what; it may
    have a second method, ``has_partner(volume: int, cohort: Cohort) -> bool``, and the log then has ``no_partner``,
    the share of volumes for which it is false.
    """

    Config: ClassVar[type[Config]]

    def positive(self, anchor: SliceRef, cohort: Cohort, rng: Generator) -> SliceRef:
        """Draw the positive of ``anchor``; every random number comes from ``rng``."""
        ...


@dataclass(frozen=True)
class Batch:
    """What an objective sees. ``views[v]`` and ``tissue[v]`` are ``(B, 1, rows, columns)``; ids are ``(B,)`` integers.

    Views are float in [0, 1]; tissue is bool. The ids let an objective leave out false negatives:
    ``volume[v]``, ``breast[v]`` and ``patient[v]`` say where the rows of view ``v`` come from. ``seeds[v]`` is for the
    objective's own random numbers (`uniform`), which then depend on the sample alone, not on its place in the batch.
    ``z[v]`` ``(B,)`` is the slice within its volume, and ``pixel[v]`` ``(B, 2)`` the height and width of a view's
    pixel, both in heights of a whole slice, so that an objective can think in millimetres.
    """

    views: tuple[torch.Tensor, ...]
    tissue: tuple[torch.Tensor, ...]
    volume: tuple[torch.Tensor, ...]
    breast: tuple[torch.Tensor, ...]
    patient: tuple[torch.Tensor, ...]
    seeds: tuple[torch.Tensor, ...] = ()
    z: tuple[torch.Tensor, ...] = ()
    pixel: tuple[torch.Tensor, ...] = ()


@dataclass(frozen=True)
class Step:
    """What an objective gives back: the loss (a scalar) and named scalars for the log."""

    loss: torch.Tensor
    logs: Mapping[str, float | torch.Tensor] = field(default_factory=dict)


@runtime_checkable
class Objective(Protocol):
    """A self-supervised objective: an ``nn.Module`` built as ``Cls(encoder, **config)``; views in, loss out.

    ``encoder`` maps ``(B, 1, rows, columns)`` to ``(B, encoder.num_features)``.

    An objective that learns to tell something abnormal without labels may have a method ``head() -> nn.Linear``: one
    logit on those features. It is kept beside the encoder, and a fine-tuner finds it in `Run.head`.

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


@dataclass(frozen=True)
class Labelled:
    """Slices with labels: ``abnormal[i]`` is a bool array over the slices of ``slices.cohort[i]``."""

    slices: Slices
    abnormal: tuple[NDArray[np.bool_], ...]


@dataclass(frozen=True)
class Run:
    """What a fine-tuner needs besides the data: device, seed, patch rule, and a folder for its logs.

    ``head`` holds ``weight`` ``(1, num_features)`` and ``bias`` ``(1,)`` of the logit that the objective learnt without
    labels, where it has one.
    """

    seed: int
    patches: PatchRule
    folder: Path
    accelerator: str = "auto"
    workers: int = 0
    head: Mapping[str, torch.Tensor] | None = None


@runtime_checkable
class FineTuner(Protocol):
    """Encoder and labelled patients in, patch classifier out: ``(B, 1, S, S)`` to ``(B,)`` logits of *abnormal*.

    The classifier is a `PatchClassifier`; a fine-tuner that makes another network has a second method,
    ``classifier(encoder) -> nn.Module``, that builds it untrained, so that its weights can be loaded again.
    """

    Config: ClassVar[type[Config]]

    def fit(self, encoder: nn.Module, train: Labelled, val: Labelled, run: Run) -> nn.Module:
        """Train on ``train``, choose on ``val``. The test split is no argument and out of reach."""
        ...


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
    """Ragged groups in, one logit for each group out. One that learns is a `dbtssl.evaluation.learned.Learned` too."""

    Config: ClassVar[type[Config]]
    level: ClassVar[Level | Literal["any"]]
    needs: ClassVar[Literal["logits", "features"]]

    def __call__(self, groups: Groups) -> NDArray[np.float64]:
        """One score a group, shape ``(len(groups),)``, on the logit scale. No group is empty."""
        ...


class Reported(Config):
    """A row of the method's own paper, in percent, with what it was measured on."""

    level: Level = Field(description="slice, volume, breast or patient")
    backbone: str = Field(description="the paper's backbone, as a name of ours")
    finetuner: str = Field(default="discriminative", description="fine-tuning strategy of the row")
    patches: int = Field(description="patches a slice at test")
    values: dict[str, float] = Field(description="metric name to percent")
    protocol: str = Field(description="the protocol's name the row was measured with")
    evaluation_set: str = Field(description="the evaluation set's name")
    source: str = Field(description="paper and table")


class Method(Config):
    """Sampler, objective, defaults and the paper's reported numbers: one row of the benchmark."""

    summary: str = Field(description="one line for listings")
    objective: str | None = Field(
        default=None, description="name of the objective; none means no pretraining"
    )
    sampler: str | None = Field(default=None, description="name of the sampler")
    weights: str | None = Field(
        default=None,
        description="weights to begin with: imagenet, timm or a path; empty: a row must name them; none: random",
    )
    finetuner: str = Field(default="local-multi-patch", description="name of the fine-tuner")
    objective_config: dict[str, Any] = Field(
        default_factory=dict, description="keys of the objective's Config"
    )
    sampler_config: dict[str, Any] = Field(
        default_factory=dict, description="keys of the sampler's Config"
    )
    finetuner_config: dict[str, Any] = Field(
        default_factory=dict, description="keys of the fine-tuner's Config"
    )
    pretrain: dict[str, Any] = Field(
        default_factory=dict,
        description="the paper's pretraining schedule (keys of PretrainConfig)",
    )
    presets: dict[str, dict[str, dict[str, Any]]] = Field(
        default_factory=dict,
        description="named changes: preset -> objective | sampler | finetuner | pretrain -> key -> value",
    )
    paper: str = Field(default="", description="citation")
    reference: str = Field(default="", description="reference code, with its commit")
    reported: tuple[Reported, ...] = Field(default=(), description="the paper's own rows")


class Source(Protocol):
    """A place where volumes come from."""

    Config: ClassVar[type[Config]]

    def volumes(self, root: Path) -> Sequence[RawVolume]:
        """List the volumes below ``root`` from tables and folders alone; no image is decoded."""
        ...


class FrameReader(Protocol):
    """Reads a volume that is not one multi-frame DICOM file. It is sent to worker processes, so it must pickle."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the volume is made of."""
        ...

    def header(self) -> Header:
        """Slices, rows, columns and window; a `DataError` for a file that cannot be read."""
        ...

    def frames(self, slices: Iterable[int] | None = None) -> Iterator[NDArray[np.uint16]]:
        """All frames in order, or those of ``slices``: stored values ``(rows, columns)`` at full resolution."""
        ...


@dataclass(frozen=True)
class RawVolume:
    """A volume before preparation: its record as far as the tables know it, and the file that holds it.

    ``volume.rows``, ``columns``, ``window`` and ``crop`` are placeholders until the file is read, and so is
    ``n_slices`` where it is 0; another number is checked against the file. Box coordinates are full-resolution
    pixels of the oriented frame.

    Without a ``reader``, ``path`` is one multi-frame DICOM file; with one, ``path`` is the first of its files.
    ``oriented`` says that boxes and pixels share a frame already, so that nothing is turned.
    """

    volume: Volume
    path: Path
    reader: FrameReader | None = None
    oriented: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the volume is made of."""
        return (self.path,) if self.reader is None else self.reader.files
