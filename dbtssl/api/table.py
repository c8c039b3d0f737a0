"""The public names: page, name, and the module that defines it. Pages and their typing follow this table."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PAGES = {  # page ("" is dbtssl.api itself) -> name -> module
    "": {
        "API_VERSION": "dbtssl.plugins.hookspec",
        "Config": "dbtssl.config",
        "ConfigError": "dbtssl.errors",
        "DataError": "dbtssl.errors",
        "DbtsslError": "dbtssl.errors",
        "Field": "pydantic",
        "Method": "dbtssl.interfaces",
        "PluginError": "dbtssl.errors",
        "Register": "dbtssl.plugins.hookspec",
        "TrainingError": "dbtssl.errors",
        "config_of": "dbtssl.config",
        "hookimpl": "dbtssl.plugins.hookspec",
        "infra": "dbtssl.config",
        "progress": "dbtssl.progress",
    },
    "data": {
        "Box": "dbtssl.data.records",
        "Cohort": "dbtssl.data.records",
        "Label": "dbtssl.data.records",
        "Rect": "dbtssl.data.records",
        "SliceRef": "dbtssl.data.records",
        "Slices": "dbtssl.data.prepared.prepared_dataset",
        "Volume": "dbtssl.data.records",
        "Window": "dbtssl.data.records",
        "neighbours": "dbtssl.data.records",
    },
    "sources": {
        "Expected": "dbtssl.interfaces",
        "FrameReader": "dbtssl.interfaces",
        "Header": "dbtssl.data.dicom.header",
        "RawVolume": "dbtssl.interfaces",
        "SaysPublic": "dbtssl.interfaces",
        "Source": "dbtssl.interfaces",
    },
    "objectives": {
        "Batch": "dbtssl.interfaces",
        "Crop": "dbtssl.interfaces",
        "DBT_VIEWS": "dbtssl.methods.moco_settings",
        "ExcludedKeys": "dbtssl.interfaces",
        "FreezesParameters": "dbtssl.interfaces",
        "HasHead": "dbtssl.interfaces",
        "HasPartner": "dbtssl.interfaces",
        "HasPlace": "dbtssl.interfaces",
        "MOCO_AS_RELEASED": "dbtssl.methods.moco_settings",
        "MOCO_PUBLISHED": "dbtssl.methods.moco_settings",
        "MOCO_RELEASED_SCHEDULE": "dbtssl.methods.moco_settings",
        "MOCO_SCHEDULE": "dbtssl.methods.moco_settings",
        "MomentumTeacher": "dbtssl.nn.teacher",
        "Objective": "dbtssl.interfaces",
        "PairViews": "dbtssl.views.settings",
        "Photometry": "dbtssl.interfaces",
        "PositiveRange": "dbtssl.views.settings",
        "Projected": "dbtssl.nn.projected",
        "Queue": "dbtssl.nn.queue",
        "ReportsCollapse": "dbtssl.interfaces",
        "Sampler": "dbtssl.interfaces",
        "Shares": "dbtssl.views.settings",
        "SigmaRange": "dbtssl.views.settings",
        "Step": "dbtssl.interfaces",
        "ViewSpec": "dbtssl.interfaces",
        "add_keys": "dbtssl.nn.contrast",
        "cosine_momentum": "dbtssl.nn.self_distillation",
        "create_encoder": "dbtssl.nn.backbones",
        "feature_std": "dbtssl.nn.collapse",
        "full_precision": "dbtssl.nn.projected",
        "gather": "dbtssl.nn.devices.distributed",
        "gather_with_gradient": "dbtssl.nn.devices.distributed",
        "info_nce": "dbtssl.nn.contrast",
        "normal": "dbtssl.views.random_numbers",
        "one_vector": "dbtssl.nn.collapse",
        "own_keys": "dbtssl.nn.contrast",
        "pair_views": "dbtssl.views.settings",
        "place_width": "dbtssl.nn.feature_map",
        "places_and_pooled": "dbtssl.nn.feature_map",
        "prototype_head": "dbtssl.nn.self_distillation",
        "rank": "dbtssl.nn.devices.distributed",
        "rankme": "dbtssl.nn.collapse",
        "shuffle": "dbtssl.nn.devices.distributed",
        "softmax_entropy": "dbtssl.nn.collapse",
        "split_batchnorm": "dbtssl.nn.devices.split_batchnorm",
        "sync_batchnorm": "dbtssl.nn.devices.synced_batchnorm",
        "uniform": "dbtssl.views.random_numbers",
        "unshuffle": "dbtssl.nn.devices.distributed",
        "warmed_up": "dbtssl.nn.self_distillation",
        "world_size": "dbtssl.nn.devices.distributed",
    },
    "finetuning": {
        "BalancedBatches": "dbtssl.training.finetuning.balanced_batches",
        "BuildsClassifier": "dbtssl.interfaces",
        "FineTuner": "dbtssl.interfaces",
        "Labelled": "dbtssl.interfaces",
        "LightAugment": "dbtssl.training.finetuning.augmentation",
        "PatchClassifier": "dbtssl.nn.classifier",
        "PatchRule": "dbtssl.patches.patch_rule",
        "PatchTraining": "dbtssl.training.finetuning.patch_training",
        "Run": "dbtssl.interfaces",
        "RunState": "dbtssl.training.finetuning.finetune_state",
        "TrainPatches": "dbtssl.training.finetuning.balanced_batches",
        "augment": "dbtssl.training.finetuning.augmentation",
        "classifier_optimizer": "dbtssl.training.finetuning.patch_training",
        "discriminative_groups": "dbtssl.nn.stages",
        "flat_labels": "dbtssl.training.finetuning.balanced_batches",
        "single_device": "dbtssl.inference.predict",
        "slice_auc": "dbtssl.training.finetuning.finetune",
        "stages": "dbtssl.nn.stages",
        "train_classifier": "dbtssl.training.finetuning.patch_training",
        "train_patches": "dbtssl.training.finetuning.finetune",
        "training_mode": "dbtssl.training.finetuning.finetune",
        "validation_logits": "dbtssl.training.finetuning.finetune",
    },
    "evaluation": {
        "Aggregator": "dbtssl.interfaces",
        "Groups": "dbtssl.interfaces",
        "Level": "dbtssl.interfaces",
        "Reported": "dbtssl.interfaces",
        "Trainable": "dbtssl.interfaces",
        "sift_dbt_row": "dbtssl.methods.reported_rows",
    },
}


def lazy_names(module: str) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """``__all__``, ``__getattr__`` and ``__dir__`` of ``module``; dbtssl.api itself has the names of all pages."""
    page = module.removeprefix("dbtssl.api").removeprefix(".")
    pages = [PAGES[page]] if page else list(PAGES.values())
    homes = {name: home for names in pages for name, home in names.items()}
    public = sorted(homes)

    def load(name: str) -> Any:
        if name in homes:
            value = getattr(importlib.import_module(homes[name]), name)
        elif not page and name in PAGES:
            value = importlib.import_module(f"{module}.{name}")
        else:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        vars(importlib.import_module(module))[name] = value  # so that this is called once a name
        return value

    return public, load, lambda: public
