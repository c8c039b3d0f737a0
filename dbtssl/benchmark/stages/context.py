"""What all stages of a benchmark share: its specification and its data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dbtssl.evaluation.protocol import RELEASED_NORMALS
from dbtssl.interfaces import Labelled
from dbtssl.patches.patch_rule import PatchRule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtssl.benchmark.inputs.breast_density import Density
    from dbtssl.benchmark.inputs.open_dataset import Data
    from dbtssl.benchmark.spec.specification import Spec
    from dbtssl.data.splits.label_fraction import LabelBudget
    from dbtssl.training.monitors.monitor_config import Monitor


def stage_label(spec: Spec, of: str) -> str:
    """What a stage that reads labels is called: ``of``, and the share of the labels where it is not all of them."""
    return of if spec.share == 1 else f"{of}, {100 * spec.share:g} % of the labels"


@dataclass(frozen=True)
class Context:
    """What all stages of a benchmark share."""

    spec: Spec
    data: Data
    density: Density | None = None

    @property
    def rule(self) -> PatchRule:
        """The size of a patch and the tissue it must hold, in training and in test."""
        return PatchRule(self.spec.predict.patch_size, self.spec.predict.min_tissue)

    def labelled(self, part: Sequence[int]) -> Labelled:
        """The slices of some volumes, with the protocol's labels."""
        from dbtssl.data.records import abnormal_slices

        before, after = self.spec.rules.lesion_window
        slices = self.data.dataset.slices(part)
        return Labelled(slices, tuple(abnormal_slices(v, before, after) for v in slices.cohort))

    def fine_tuned_on(self, part: Literal["train", "val"], volumes: Sequence[int]) -> Sequence[int]:
        """Those of the labelled ``volumes`` that fine-tuning sees under the protocol: all, or fewer normal ones."""
        from dbtssl.data.splits.label_fraction import fewer_normals

        if self.spec.rules.fine_tuning == "own":
            return volumes
        return fewer_normals(self.data.dataset.cohort, volumes, RELEASED_NORMALS[part])

    def budget(self, seed: int) -> LabelBudget:
        """The training volumes whose labels a row of ``seed`` may read."""
        from dbtssl.data.splits.label_fraction import draw_labels

        cohort, train = self.data.dataset.cohort, self.data.split.train
        actionable = self.spec.rules.actionable
        return draw_labels(cohort, train, self.spec.share, seed, actionable)

    def label_key(self) -> dict[str, Any]:
        """What decides the labels of slices."""
        chosen = self.spec.rules
        return {
            "lesion_window": list(chosen.lesion_window),
            "actionable": chosen.actionable,
        }

    def monitor(self, name: str) -> Monitor | None:
        """The monitors of the pretraining ``name``; None where the specification wants none."""
        from dbtssl.training.monitors.monitor_config import Monitor

        config = self.spec.monitor
        if not config.every:
            return None
        return Monitor(self.data.dataset.slices(self.data.split.val), self.rule, config, name)
