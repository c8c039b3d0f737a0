"""A method: components, defaults, presets, and the paper's own numbers."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from dbtssl.config import Config
from dbtssl.interfaces.aggregation import Level


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
