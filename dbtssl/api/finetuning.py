"""For a fine-tuner: labelled slices, the training loop, and its parts for a loop of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.api.table import lazy_names

if TYPE_CHECKING:
    from dbtssl.inference.predict import single_device as single_device
    from dbtssl.interfaces import BuildsClassifier as BuildsClassifier
    from dbtssl.interfaces import FineTuner as FineTuner
    from dbtssl.interfaces import Labelled as Labelled
    from dbtssl.interfaces import Run as Run
    from dbtssl.nn.classifier import PatchClassifier as PatchClassifier
    from dbtssl.nn.stages import discriminative_groups as discriminative_groups
    from dbtssl.nn.stages import stages as stages
    from dbtssl.patches.patch_rule import PatchRule as PatchRule
    from dbtssl.training.finetuning.augmentation import LightAugment as LightAugment
    from dbtssl.training.finetuning.augmentation import augment as augment
    from dbtssl.training.finetuning.balanced_batches import BalancedBatches as BalancedBatches
    from dbtssl.training.finetuning.balanced_batches import TrainPatches as TrainPatches
    from dbtssl.training.finetuning.balanced_batches import flat_labels as flat_labels
    from dbtssl.training.finetuning.finetune import slice_auc as slice_auc
    from dbtssl.training.finetuning.finetune import train_patches as train_patches
    from dbtssl.training.finetuning.finetune import training_mode as training_mode
    from dbtssl.training.finetuning.finetune import validation_logits as validation_logits
    from dbtssl.training.finetuning.finetune_state import RunState as RunState
    from dbtssl.training.finetuning.patch_training import PatchTraining as PatchTraining
    from dbtssl.training.finetuning.patch_training import (
        classifier_optimizer as classifier_optimizer,
    )
    from dbtssl.training.finetuning.patch_training import train_classifier as train_classifier
else:  # what no type checker reads, so that it knows a name that does not exist
    __all__, __getattr__, __dir__ = lazy_names(__name__)
