"""Monitors of a pretraining: their settings, and what they look at. Importing this loads no torch; see `watch`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pydantic import Field

from dbtssl.config import Config
from dbtssl.errors import ConfigError

if TYPE_CHECKING:
    from dbtssl.data.prepared.prepared_dataset import Slices
    from dbtssl.data.records import Cohort
    from dbtssl.patches.patch_rule import PatchRule

MONITORS, PLOT, EVENTS = "monitors.jsonl", "monitors.png", "tensorboard"


class MonitorConfig(Config):
    """What is measured of the encoder while it is pretrained; none of it decides a result."""

    every: int = Field(
        default=10,
        ge=0,
        description="epochs between two measurements; also before the first step and after the last; 0: none",
    )
    patients: int = Field(
        default=100,
        ge=1,
        description="validation patients that are looked at, at most; up to half have a lesion",
    )
    slices: int = Field(default=4, ge=1, description="slices of a volume, evenly spaced")
    patches: int = Field(
        default=4,
        ge=1,
        description="patches of such a slice; also of a lesion, and of a normal volume that is set against lesions",
    )
    neighbours: int = Field(default=20, ge=1, description="nearest patches that vote for knn_auc")
    label_budget: int = Field(
        default=10,
        ge=1,
        description="patients of each class that the linear probe learns from, at most",
    )
    tensorboard: bool = Field(
        default=False, description="also write event files for TensorBoard, beside the log"
    )

    def check(self) -> None:
        """Refuse what is asked for and not installed."""
        if self.every and self.tensorboard and find_spec("tensorboard") is None:
            raise ConfigError(
                "monitor.tensorboard: got true, but tensorboard is not installed",
                hint='pip install "dbtssl[tensorboard]", or leave it false: the log and the plot are written anyway',
            )


@dataclass(frozen=True)
class Monitor:
    """Validation ``slices`` to look at, by patches of ``rule``; ``name`` is what lines on the screen call the run."""

    slices: Slices
    rule: PatchRule
    config: MonitorConfig = MonitorConfig()
    name: str = "pretrain"

    def check(self, training: Cohort) -> None:
        """Refuse patients that are also trained on, and what is not installed."""
        self.config.check()
        both = {v.patient for v in self.slices.cohort} & {v.patient for v in training}
        if both:
            raise ConfigError(
                f"{len(both)} patients of the monitors are also trained on",
                hint="give the monitors the slices of the validation split alone",
            )
