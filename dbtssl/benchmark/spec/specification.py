"""The benchmark's specification: a TOML file, strict, with every error at once."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, field_validator, model_validator

from dbtssl.config import Config, did_you_mean, infra
from dbtssl.errors import ConfigError
from dbtssl.evaluation.protocol import Protocol, protocol
from dbtssl.training.monitors.monitor_config import MonitorConfig

Tables = dict[str, Any]
LONGEST_NAME = 100  # characters; names become those of files and folders, with more beside them
LAST_SEED = 2**32 - 1  # the highest that all libraries take
Seed = Annotated[int, Field(ge=0, le=LAST_SEED)]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]


def _a_file_name(name: str) -> str:
    if re.search(r"[/\\\x00-\x1f\x7f]", name) or len(name.encode()) > 2 * LONGEST_NAME:
        raise ValueError(
            f"expected a name without / and \\, of at most {2 * LONGEST_NAME} bytes: files are called by it"
        )
    return name


RowName = Annotated[Name, AfterValidator(_a_file_name)]


class DataSpec(Config):
    """Where the volumes come from."""

    source: str = Field(default="phantom", description="name of a source of data")
    root: str = Field(
        default="",
        description="folder of the source, or a prepared data set; empty: the phantom is made and cached",
    )
    phantom: Tables = Field(
        default_factory=dict, description="keys of PhantomConfig, for the phantom that is made"
    )
    options: Tables = Field(default_factory=dict, description="keys of the source's Config")


class SplitSpec(Config):
    """Patient-wise split: stratified by the patient's worst label, by seed, or as lists say.

    What becomes of Actionable volumes is the protocol's.
    """

    lists: str = Field(
        default="",
        description="folder with SIFT-DBT's lists or the published tables; official:FOLDER where it holds both. "
        "Then there are no ratios and no seed",
    )
    ratios: tuple[float, float, float] = Field(
        default=(0.7, 0.1, 0.2), description="train, validation, test (SIFT-DBT, section 3.1)"
    )
    seed: Seed = Field(default=0, description="seed of the split, apart from the runs' seeds")

    @model_validator(mode="after")
    def _one_way(self) -> SplitSpec:
        if self.lists and self.model_fields_set & {"ratios", "seed"}:
            raise ValueError("lists alone, or ratios and seed")
        return self

    @field_validator("ratios")
    @classmethod
    def _shares(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(value) <= 0 or abs(sum(value) - 1) > 1e-6:
            raise ValueError("expected 3 shares above 0 that add up to 1")
        return value


class BackboneSpec(Config):
    """The encoder."""

    name: str = Field(default="cnn7", description="a timm model, or a registered backbone")
    args: Tables = Field(default_factory=dict, description="keyword arguments of the model")


class PredictSpec(Config):
    """Which patches are looked at, in validation and in test."""

    inference: Literal["random", "grid"] = Field(
        default="random",
        description="patches at random places, or on a lattice that covers all tissue, without noise of sampling",
    )
    patches: int = Field(
        default=20,
        ge=1,
        le=400,
        description="patches a slice (the paper's M), where they are random",
    )
    overlap: float = Field(
        default=0.5,
        ge=0,
        le=0.9,
        description="least share of a patch's side in common with its neighbour on the lattice",
    )
    patch_size: int = Field(
        default=448, ge=8, description="side of a patch in pixels of the prepared slice"
    )
    min_tissue: float = Field(
        default=0.01, ge=0, le=1, description="least share of tissue in a patch, both classes alike"
    )
    every: int = Field(
        default=1,
        ge=1,
        description="1: every slice is scored; n: every n-th, both classes alike, for a cheaper benchmark",
    )
    seed: Seed = Field(default=0, description="seed of the patch positions, where they are random")

    @model_validator(mode="after")
    def _of_its_inference(self) -> PredictSpec:
        default = type(self).model_fields["overlap"].default  # a record of a run names every key
        if self.inference == "random" and self.overlap != default:
            raise ValueError('overlap is of inference = "grid"')
        return self


class AggregateSpec(Config):
    """Patches to slice, slices to volume, volumes to breast and to patient."""

    patch: str = Field(default="mean", description="aggregator over the patches of a slice")
    slice: str = Field(default="max", description="aggregator over the slices of a volume")
    breast: str = Field(default="max", description="aggregator over the volumes of a breast")
    patient: str = Field(default="max", description="aggregator over the volumes of a patient")
    options: dict[Literal["patch", "slice", "breast", "patient"], Tables] = Field(
        default_factory=dict,
        description="[aggregate.options.patch] and so on: keys of that aggregator's Config",
    )


class RowSpec(Config):
    """One row of the table: a method with a preset and changed keys."""

    method: str = Field(default="", description="the method; default: the row's own name")
    preset: str = Field(default="", description="a preset of the method")
    backbone: BackboneSpec | None = Field(
        default=None, description="the row's own encoder; default: the benchmark's"
    )
    weights: str = Field(
        default="",
        description="weights to begin with: imagenet (timm's of the backbone, trained on ImageNet), timm (whatever it "
        "has for it), or the path of a .safetensors or .pth file; default: the method's, most often random",
    )
    pairs: str = Field(
        default="", description="the sampler of positive pairs; default: the method's own"
    )
    objective: Tables = Field(default_factory=dict, description="keys of the objective's Config")
    sampler: Tables = Field(default_factory=dict, description="keys of the sampler's Config")
    pretrain: Tables = Field(default_factory=dict, description="keys of PretrainConfig")
    finetune: Tables = Field(default_factory=dict, description="keys of the fine-tuner's Config")


class TasksSpec(Config):
    """Tasks beside detection that frozen features are put to: breast density, and finding the other view."""

    density: str = Field(
        default="",
        description="CSV file of breast densities: PatientID, StudyUID, Breast (l or r) or View, density; a phantom "
        "brings its own",
    )
    slices: int = Field(default=4, ge=1, description="slices of a volume, evenly spaced")
    patches: int = Field(default=2, ge=1, description="patches of such a slice")


class RunSpec(Config):
    """How it is run; none of it decides a result."""

    accelerator: Literal["auto", "cpu", "cuda", "mps"] = infra("auto", description="device kind")
    workers: int = infra(0, ge=0, description="loader processes of a training")
    jobs: int = infra(0, ge=0, description="processes that make and prepare volumes; 0: one a core")


class Spec(Config):
    """One benchmark."""

    name: Name = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="name of the output folder")
    title: str = Field(default="", description="title of the table")
    methods: tuple[RowName, ...] = Field(min_length=1, description="rows of the table, in order")
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1, description="seeds, all reported")
    labels: tuple[float, ...] = Field(
        default=(1.0,),
        description="share, or shares, of the training patients whose labels are given; a run for each. Pretraining "
        "sees all, validation is whole",
    )
    protocol: str = Field(default="strict", description="name of the protocol")
    lesion_window: tuple[NonNegativeInt, NonNegativeInt] | None = Field(
        default=None,
        description="slices before and after an annotated one that count as abnormal; default: the protocol's, which "
        "are for slices 1 mm apart",
    )
    baseline: str = Field(
        default="",
        description="the row that the others are compared with; default: random-init, where it is a row",
    )
    data: DataSpec = Field(default=DataSpec(), description="where the volumes come from")
    prepare: Tables = Field(default_factory=dict, description="keys of PrepareConfig")
    split: SplitSpec = Field(default=SplitSpec(), description="the split")
    backbone: BackboneSpec = Field(default=BackboneSpec(), description="the encoder")
    pretrain: Tables = Field(
        default_factory=dict,
        description="keys of PretrainConfig, for every method that pretrains; where epochs is set, the warm-up of a "
        "method's own schedule keeps its share",
    )
    objective: dict[str, Tables] = Field(
        default_factory=dict,
        description="[objective.NAME]: keys of that objective's Config, for every row that has it",
    )
    finetune: Tables = Field(
        default_factory=dict, description="keys of the fine-tuner's Config, for every method"
    )
    predict: PredictSpec = Field(default=PredictSpec(), description="patches at test")
    aggregate: AggregateSpec = Field(default=AggregateSpec(), description="aggregators")
    tasks: TasksSpec | None = Field(
        default=None,
        description="[tasks], empty or not: what frozen features are good for; default: not asked",
    )
    method: dict[str, RowSpec] = Field(
        default_factory=dict, description="[method.NAME]: what is special about one row"
    )
    monitor: MonitorConfig = infra(
        MonitorConfig(),
        description="what is measured on validation patients while a method is pretrained",
    )
    run: RunSpec = Field(default=RunSpec(), description="how it is run")

    @model_validator(mode="after")
    def _a_row(self) -> Spec:
        if self.baseline and self.baseline not in self.methods:
            near = did_you_mean(self.baseline, list(self.methods))
            raise ValueError(f"baseline {self.baseline!r} is none of the rows.{near}")
        return self

    @property
    def rules(self) -> Protocol:
        """The protocol, with the window of abnormal slices that is given here; `ConfigError` for an unknown one."""
        named = protocol(self.protocol)
        return named.with_window(self.lesion_window) if self.lesion_window else named

    @property
    def share(self) -> float:
        """The share of the labels; `ConfigError` where there are several, which are as many runs."""
        if len(self.labels) > 1:
            raise ConfigError(
                f"labels: {len(self.labels)} shares, expected one for one run",
                hint="benchmark_budgets, and `dbtssl benchmark`, make a run for each",
            )
        return self.labels[0]

    @field_validator("labels", mode="before")
    @classmethod
    def _one_share(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return (value,)
        return tuple(value) if isinstance(value, list) else value

    @field_validator("labels")
    @classmethod
    def _label_shares(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not values or not all(0 < value <= 1 for value in values):
            raise ValueError("expected a share above 0 and at most 1, or several; 0.1 is 10 %")
        return values

    @field_validator("methods", "seeds", "labels")
    @classmethod
    def _no_repeats(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) != len(values):
            raise ValueError("different entries")
        return values
