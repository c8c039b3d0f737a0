"""Everything a plugin author imports. Importing it loads no torch; the heavy names load on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pydantic import Field

from dbtssl.config import Config, config_of, infra
from dbtssl.data.records import Box, Cohort, Label, Rect, SliceRef, Volume, Window, neighbours
from dbtssl.errors import ConfigError, DataError, DbtsslError, PluginError
from dbtssl.interfaces import (
    Aggregator,
    Batch,
    BuildsClassifier,
    Crop,
    Expected,
    FineTuner,
    FreezesParameters,
    Groups,
    HasHead,
    HasPartner,
    HasPlace,
    Labelled,
    Level,
    Method,
    Objective,
    Photometry,
    RawVolume,
    Reported,
    ReportsCollapse,
    Run,
    Sampler,
    SaysPublic,
    Source,
    Step,
    Trainable,
    ViewSpec,
)
from dbtssl.plugins.hookspec import API_VERSION, Register, hookimpl
from dbtssl.progress import progress
from dbtssl.views.settings import PairViews, PositiveRange, Shares, SigmaRange, pair_views

if TYPE_CHECKING:
    from dbtssl.data.prepared.prepared_dataset import Slices
    from dbtssl.nn.backbones import create_encoder
    from dbtssl.nn.classifier import PatchClassifier
    from dbtssl.nn.collapse import feature_std, one_vector, rankme
    from dbtssl.nn.distributed import (
        gather,
        gather_with_gradient,
        rank,
        shuffle,
        unshuffle,
        world_size,
    )
    from dbtssl.nn.feature_map import place_width, places_and_pooled
    from dbtssl.nn.queue import Queue
    from dbtssl.nn.split_batchnorm import split_batchnorm
    from dbtssl.nn.stages import discriminative_groups, stages
    from dbtssl.nn.synced_batchnorm import sync_batchnorm
    from dbtssl.nn.teacher import MomentumTeacher
    from dbtssl.patches.patch_rule import PatchRule
    from dbtssl.training.finetuning.augmentation import LightAugment
    from dbtssl.training.finetuning.finetune import (
        slice_auc,
        train_patches,
        training_mode,
        validation_logits,
    )
    from dbtssl.views.random_numbers import normal, uniform

__all__ = [
    "API_VERSION",
    "Aggregator",
    "Batch",
    "Box",
    "BuildsClassifier",
    "Cohort",
    "Config",
    "ConfigError",
    "Crop",
    "DataError",
    "DbtsslError",
    "Expected",
    "Field",
    "FineTuner",
    "FreezesParameters",
    "Groups",
    "HasHead",
    "HasPartner",
    "HasPlace",
    "Label",
    "Labelled",
    "Level",
    "LightAugment",
    "Method",
    "MomentumTeacher",
    "Objective",
    "PairViews",
    "PatchClassifier",
    "PatchRule",
    "Photometry",
    "PluginError",
    "PositiveRange",
    "Queue",
    "RawVolume",
    "Rect",
    "Register",
    "Reported",
    "ReportsCollapse",
    "Run",
    "Sampler",
    "SaysPublic",
    "Shares",
    "SigmaRange",
    "SliceRef",
    "Slices",
    "Source",
    "Step",
    "Trainable",
    "ViewSpec",
    "Volume",
    "Window",
    "config_of",
    "create_encoder",
    "discriminative_groups",
    "feature_std",
    "gather",
    "gather_with_gradient",
    "hookimpl",
    "infra",
    "neighbours",
    "normal",
    "one_vector",
    "pair_views",
    "place_width",
    "places_and_pooled",
    "progress",
    "rank",
    "rankme",
    "shuffle",
    "slice_auc",
    "split_batchnorm",
    "stages",
    "sync_batchnorm",
    "train_patches",
    "training_mode",
    "uniform",
    "unshuffle",
    "validation_logits",
    "world_size",
]

_HEAVY = {
    "LightAugment": "dbtssl.training.finetuning.augmentation",
    "MomentumTeacher": "dbtssl.nn.teacher",
    "PatchClassifier": "dbtssl.nn.classifier",
    "PatchRule": "dbtssl.patches.patch_rule",
    "Queue": "dbtssl.nn.queue",
    "Slices": "dbtssl.data.prepared.prepared_dataset",
    "create_encoder": "dbtssl.nn.backbones",
    "discriminative_groups": "dbtssl.nn.stages",
    "feature_std": "dbtssl.nn.collapse",
    "gather": "dbtssl.nn.distributed",
    "normal": "dbtssl.views.random_numbers",
    "one_vector": "dbtssl.nn.collapse",
    "gather_with_gradient": "dbtssl.nn.distributed",
    "place_width": "dbtssl.nn.feature_map",
    "places_and_pooled": "dbtssl.nn.feature_map",
    "rank": "dbtssl.nn.distributed",
    "rankme": "dbtssl.nn.collapse",
    "shuffle": "dbtssl.nn.distributed",
    "slice_auc": "dbtssl.training.finetuning.finetune",
    "split_batchnorm": "dbtssl.nn.split_batchnorm",
    "stages": "dbtssl.nn.stages",
    "sync_batchnorm": "dbtssl.nn.synced_batchnorm",
    "train_patches": "dbtssl.training.finetuning.finetune",
    "training_mode": "dbtssl.training.finetuning.finetune",
    "uniform": "dbtssl.views.random_numbers",
    "unshuffle": "dbtssl.nn.distributed",
    "validation_logits": "dbtssl.training.finetuning.finetune",
    "world_size": "dbtssl.nn.distributed",
}


def __getattr__(name: str) -> Any:
    if name not in _HEAVY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HEAVY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
