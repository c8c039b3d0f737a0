"""A method: components, defaults, presets, and the paper's own numbers."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, field_validator, model_validator

from dbtssl.config import Config, did_you_mean, validate
from dbtssl.errors import ConfigError
from dbtssl.evaluation.quantity import catalogue
from dbtssl.interfaces.aggregation import Level
from dbtssl.interfaces.schedule import PretrainConfig

PROTOCOL_NAMES = ("strict", "strict-actionable-normal", "as-published")
"""The protocols of `dbtssl.evaluation.protocol`; one with another window of abnormal slices is NAME-window-4-3."""

PRESET_TABLES = ("objective", "sampler", "pretrain", "finetuner")


class Reported(Config):
    """A row of the method's own paper, in percent, with what it was measured on."""

    level: Level = Field(description="slice, volume, breast or patient")
    backbone: str = Field(description="the paper's backbone, as a name of ours")
    finetuner: str = Field(default="discriminative", description="fine-tuning strategy of the row")
    patches: int = Field(ge=1, description="patches a slice at test")
    values: dict[str, float] = Field(description="metric name to percent")
    protocol: str = Field(description="the protocol's name the row was measured with")
    evaluation_set: str = Field(description="the evaluation set's name")
    source: str = Field(description="paper and table")

    @field_validator("values")
    @classmethod
    def _known_metrics(cls, values: dict[str, float]) -> dict[str, float]:
        known = catalogue()
        for name, value in values.items():
            if name not in known:
                near = did_you_mean(name, known)
                raise ValueError(f"unknown metric {name!r}.{near} Known: {', '.join(known)}")
            metric = known[name]
            if not metric.holds(value / 100 if metric.unit == "percent" else value):
                unit = ", in percent" if metric.unit == "percent" else ""
                raise ValueError(f"{name} is {value:g}, expected a value of {metric.range}{unit}")
        return values

    @field_validator("protocol")
    @classmethod
    def _known_protocol(cls, value: str) -> str:
        if re.sub(r"-window-\d+-\d+$", "", value) not in PROTOCOL_NAMES:
            near = did_you_mean(value, PROTOCOL_NAMES)
            raise ValueError(f"unknown protocol.{near} Known: {', '.join(PROTOCOL_NAMES)}")
        return value


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

    @model_validator(mode="after")
    def _consistent(self) -> Method:
        """What can be told without the components; their keys are checked when the method is loaded."""
        if self.objective is None:
            for name in ("sampler", "objective_config", "sampler_config", "pretrain"):
                if getattr(self, name):
                    raise ValueError(f"{name} is given, and no objective: nothing is pretrained")
        _check_schedule("pretrain", self.pretrain)
        for name, preset in self.presets.items():
            for table in preset:
                if table not in PRESET_TABLES:
                    raise ValueError(
                        f"presets.{name}: unknown table {table!r}.{did_you_mean(table, PRESET_TABLES)} "
                        f"Known: {', '.join(PRESET_TABLES)}"
                    )
                if self.objective is None and table != "finetuner":
                    raise ValueError(f"presets.{name}: table {table!r}, and no objective")
            if pretrain := preset.get("pretrain", {}):
                _check_schedule(f"presets.{name}.pretrain", self.pretrain | pretrain)
        return self


def _check_schedule(where: str, keys: dict[str, Any]) -> None:
    """Refuse keys and values that are none of `PretrainConfig`, all of them in one line."""
    try:
        validate(PretrainConfig, keys, where)
    except ConfigError as exc:
        raise ValueError("; ".join(line.strip() for line in exc.message.splitlines()[1:])) from None
