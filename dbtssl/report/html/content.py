"""What a report shows: a table, the runs behind it, examples, and where all of it comes from. Plain data, no files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from dbtssl.audit.confounders import Finding
    from dbtssl.data.records import Label
    from dbtssl.evaluation.metrics.roc_bands import Band, Bin
    from dbtssl.evaluation.score_set import ScoreSet
    from dbtssl.evaluation.values import CurvePoint, LocalisationResult, Row
    from dbtssl.interfaces import Level
    from dbtssl.report.table_model import Table

Log = tuple["Mapping[str, float]", ...]


@dataclass(frozen=True)
class Seed:
    """One seed of a method: test scores and rows by level, AUC by patches, reliability of slices, logs of training."""

    seed: int
    sets: Mapping[Level, ScoreSet]
    rows: Mapping[Level, Row]
    patch_curve: tuple[CurvePoint, ...] = ()
    looked: LocalisationResult | None = None
    reliability: tuple[Bin, ...] = ()
    pretraining: Log = ()
    finetuning: Log = ()
    monitors: Log = ()


@dataclass(frozen=True)
class MethodRuns:
    """All seeds of one method that have a score, and the ROC band of their mean by level."""

    name: str
    seeds: tuple[Seed, ...]
    bands: Mapping[Level, Band | None]


@dataclass(frozen=True)
class Profile:
    """The slice scores of one volume along z, as logits; ``abnormal`` marks the annotated range, ``(n_slices,)``."""

    volume: str
    label: Label
    z: NDArray[np.int64]
    scores: NDArray[np.float64]
    abnormal: NDArray[np.bool_]
    outcome: str


@dataclass(frozen=True)
class Example:
    """One slice with its patches. ``image`` is ``(rows, columns)`` uint8, ``scale`` its pixels per stored pixel.

    ``corners`` are top-left corners of the patches ``(M, 2)`` (y, x), ``boxes`` are (x, y, width, height), both in
    stored pixels from the corner of the image.
    """

    volume: str
    label: Label
    outcome: str
    z: int
    n_slices: int
    image: NDArray[np.uint8]
    scale: float
    corners: NDArray[np.int64]
    logits: NDArray[np.float64]
    patch_size: int
    boxes: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class Examples:
    """Where one seed of one method looked: profiles along z and slices, those that it got wrong first."""

    method: str
    seed: int
    profiles: tuple[Profile, ...] = ()
    examples: tuple[Example, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Provenance:
    """Everything that says where the numbers come from, as names and texts; no folder, host or user."""

    hashes: Mapping[str, str]
    environment: Mapping[str, str]
    config: Mapping[str, Any]
    stages: Sequence[tuple[str, str, str, str]]
    components: Sequence[tuple[str, str, str, str, str]] = ()  # the last is a hash


@dataclass(frozen=True)
class Content:
    """A whole report. ``counts`` are lines of (split, label, patients, volumes, slices, abnormal slices)."""

    name: str
    table: Table
    phantom: bool
    methods: tuple[MethodRuns, ...]
    looked: Examples | None
    counts: tuple[tuple[str, str, int, int, int, int], ...]
    audit: tuple[Finding, ...]
    provenance: Provenance
    confidence: float = 0.95
