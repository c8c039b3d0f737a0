"""Local multi-patch fine-tuning with discriminative learning rates (SIFT-DBT, section 2.3).

Settings and training are `PatchTraining` and `train_classifier` of `dbtssl.api`, whose defaults are those of the
released code, XYPB/SIFT_DBT at c6ef0f2. Reading the settings loads no torch; training does.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from dbtssl.api import PatchTraining

if TYPE_CHECKING:
    from torch import nn

    from dbtssl.api import Labelled, Run


class LocalMultiPatch:
    """One patch per slice in training, half of them abnormal and with the lesion's box; the best epoch is kept."""

    class Config(PatchTraining):
        """How the classifier is trained."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def fit(self, encoder: nn.Module, train: Labelled, val: Labelled, run: Run) -> nn.Module:
        """Train on ``train``, choose the epoch on ``val``; ``encoder`` itself is left as it is."""
        from dbtssl.api import PatchClassifier, train_classifier

        # the released linear probe has a small head in any case (`main_cls.py:300`)
        torch_head = run.as_released and self.config.strategy != "linear"
        model = PatchClassifier(
            copy.deepcopy(encoder), seed=run.seed, init="torch" if torch_head else "small"
        )
        return train_classifier(model, self.config, train, val, run)
