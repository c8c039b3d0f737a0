"""The baseline without pretraining: fine-tuning starts from random weights.

It is fine-tuned as the rows beside it are. Preset ``paper`` is what SIFT-DBT gives its baselines from random weights:
100 epochs (section 3.1), and one learning rate, for lower rates for lower layers protect what pretraining taught them.
"""

from __future__ import annotations

from dbtssl.interfaces import Method
from dbtssl.methods.reported_rows import sift_dbt_row

FULL = "full"  # the paper does not say which rates it took from random weights

METHOD = Method(
    summary="no pretraining: random weights, fine-tuned",
    presets={"paper": {"finetuner": {"strategy": "full", "epochs": 100}}},
    reported=(
        sift_dbt_row(1, 87.94, 99.91, 59.10, 90.31, 71.33, 77.23, backbone="cnn7", finetuner=FULL),
        sift_dbt_row(1, 85.03, 99.76, 86.03, 61.25, 64.22, 68.85, finetuner=FULL),
        sift_dbt_row(
            3, 77.79, 100.00, 12.76, 100.00, 64.03, 67.43, backbone="cnn7", finetuner=FULL
        ),
        sift_dbt_row(3, 65.93, 99.38, 64.19, 61.54, 21.63, 48.31, finetuner=FULL),
    ),
)
