"""What a score is made of: values with intervals, or the reason in words why there is none."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, ValidationError, field_validator

from dbtssl.config import Config, canonical_json
from dbtssl.errors import DataError
from dbtssl.evaluation.protocol import Protocol
from dbtssl.evaluation.quantity import catalogue
from dbtssl.interfaces import Level

Kind = Literal["method", "shortcut", "rule"]


class _Data(Config):
    model_config = ConfigDict(allow_inf_nan=False)


class Value(_Data):
    """A metric with its interval; ``reason`` says in words why the value or the interval is missing.

    `dbtssl.evaluation.catalogue` has the unit and the range of every metric; a share is in [0, 1].
    """

    value: float | None = Field(default=None, description="point estimate")
    low: float | None = Field(default=None, description="lower end of the interval")
    high: float | None = Field(default=None, description="upper end of the interval")
    reason: str = Field(default="", description="why the value or the interval is missing")


class Row(_Data):
    """All metrics of one set of scores at one level."""

    kind: Kind = Field(description="the method itself, a shortcut from metadata, or a fixed rule")
    name: str = Field(description="empty for the method; else the reference's name")
    level: Level = Field(description="what a unit is")
    subgroup: str = Field(
        default="", description="empty for all units; else which units, as 'finding: cancer'"
    )
    diagnostic: bool = Field(
        default=False, description="the lesion's box placed the patches: never ranked"
    )
    values: dict[str, Value] = Field(description="metric to value; the catalogue says what each is")
    n_pos: int = Field(description="abnormal units")
    n_neg: int = Field(description="normal units")
    n_pos_patients: int = Field(description="patients with an abnormal unit")
    n_patients: int = Field(description="patients")
    evaluation_set: str = Field(description="hash of the sorted ids and labels of the units")
    threshold: float | None = Field(
        default=None,
        description="of npv, ppv, nr, ar and what follows from them, on the score's scale",
    )
    tp: int | None = Field(default=None, description="abnormal, called abnormal at the threshold")
    fp: int | None = Field(default=None, description="normal, called abnormal")
    tn: int | None = Field(default=None, description="normal, called normal")
    fn: int | None = Field(default=None, description="abnormal, called normal")
    attained: dict[str, float] = Field(
        default_factory=dict,
        description="what is attained: the sensitivity at sp@, the specificity at se@",
    )
    cuts: dict[str, float] = Field(
        default_factory=dict,
        description="the threshold of sp@, se@ and workload@; none between two vertices of the ROC curve",
    )

    @field_validator("values")
    @classmethod
    def _within_range(cls, values: dict[str, Value]) -> dict[str, Value]:
        known = catalogue()
        for name, value in values.items():
            metric = known.get(name)
            for number in (value.value, value.low, value.high):
                if metric and number is not None and not metric.holds(number):
                    raise ValueError(f"{name} is {number}, outside {metric.range}")
        return values


class CurvePoint(_Data):
    """The AUC with so many patches a slice."""

    level: Level = Field(description="what a unit is")
    patches: int = Field(description="patches a slice")
    auc: Value = Field(description="AUC with its interval")


class LocalisationResult(_Data):
    """Whether the scores are high where the lesions are, on the abnormal volumes that have a box."""

    rule: str = Field(description="what counts as a hit, in words")
    n_volumes: int = Field(description="volumes with a box")
    n_slices: int = Field(description="annotated slices; 0 where patches cannot be asked")
    slice_hit: Value = Field(description="volumes whose highest slice is at a lesion")
    slice_chance: float = Field(description="the same for a slice drawn at random")
    patch_hit: Value = Field(description="annotated slices whose highest patch is on the lesion")
    patch_chance: float | None = Field(description="the same for a patch drawn at random")
    detection: dict[str, Value] = Field(description="the official metric of DBTex, by name")


class Missing(_Data):
    """Why a level has no scores: its aggregator, or that of a level below, failed."""

    reason: str = Field(description="what the aggregator did")
    hint: str = Field(default="", description="the next step")
    component: str = Field(default="", description="the aggregator, by the level that it gives")


class Score(_Data):
    """All rows of one set of predictions, and the protocol that they were scored with."""

    protocol: Protocol = Field(description="the rules")
    slice_aggregator: str = Field(description="patches to slice")
    volume_aggregator: str = Field(description="slices to volume")
    patches: int = Field(
        description="patches a slice that were used; the least where slices differ"
    )
    inference: str = Field(
        default="", description="random, grid or oracle patches; empty where not known"
    )
    rows: tuple[Row, ...] = Field(description="the method and its references at every level")
    patch_curve: tuple[CurvePoint, ...] = Field(
        default=(), description="AUC by the number of patches"
    )
    looked: LocalisationResult | None = Field(
        default=None, description="where it looked; null without boxes"
    )
    phantom: bool = Field(default=False, description="whether the volumes are of a phantom")
    notes: tuple[str, ...] = Field(default=(), description="what was left out, and why")
    missing: dict[Level, Missing] = Field(
        default_factory=dict, description="levels whose aggregator failed"
    )

    def to_json(self) -> str:
        """One text for equal scores."""
        return canonical_json(self)

    @classmethod
    def from_json(cls, text: str) -> Score:
        """Read what `to_json` wrote; `DataError` for anything else."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as exc:
            first = exc.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise DataError(
                f"not a score: {where}: {first['msg']}", hint="score the predictions again"
            ) from None
