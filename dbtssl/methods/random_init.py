"""The baseline without pretraining: fine-tuning starts from random weights.

It is fine-tuned as the rows beside it are. Preset ``paper`` is what SIFT-DBT gives its baselines from random weights:
100 epochs (section 3.1), and one learning rate, for lower rates for lower layers protect what pretraining taught them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.interfaces import Method, Reported

if TYPE_CHECKING:
    from dbtssl.interfaces import Level

METRICS = ("auc", "npv", "nr", "ar", "sp@87", "sp@80")


def _reported(level: Level, backbone: str, *percent: float) -> Reported:
    """A row of table 1 (slices, a subset of the test set) or table 3 (volumes, all of it)."""
    return Reported(
        level=level,
        backbone=backbone,
        finetuner="full",  # the paper does not say which rates it took from random weights
        patches=1,
        values=dict(zip(METRICS, percent, strict=True)),
        protocol="as-published",
        evaluation_set="bcs-dbt-sift-test-sub5" if level == "slice" else "bcs-dbt-sift-test-full",
        source="SIFT-DBT, table 1" if level == "slice" else "SIFT-DBT, table 3",
    )


METHOD = Method(
    summary="no pretraining: random weights, fine-tuned",
    presets={"paper": {"finetuner": {"strategy": "full", "epochs": 100}}},
    reported=(
        _reported("slice", "cnn7", 87.94, 99.91, 59.10, 90.31, 71.33, 77.23),
        _reported("slice", "resnet50", 85.03, 99.76, 86.03, 61.25, 64.22, 68.85),
        _reported("volume", "cnn7", 77.79, 100.00, 12.76, 100.00, 64.03, 67.43),
        _reported("volume", "resnet50", 65.93, 99.38, 64.19, 61.54, 21.63, 48.31),
    ),
)
