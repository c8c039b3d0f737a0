"""Method ``sift-dbt``: MoCo v2 on metadata pairs, then local multi-patch fine-tuning, with the paper's tables.

Views, schedule and objective are those of ``moco-v2``, so the two rows differ in their pairs alone. Preset ``mocov2``
has MoCo v2's own temperature, queue and momentum and a symmetric window of slices, as the row has without a preset;
``as-released`` has the released code's (XYPB/SIFT_DBT at bcc16a5b), its half-open window and its optimiser.
"""

from __future__ import annotations

from dbtssl.api import (
    DBT_VIEWS,
    MOCO_AS_RELEASED,
    MOCO_PUBLISHED,
    MOCO_RELEASED_SCHEDULE,
    MOCO_SCHEDULE,
    Method,
    sift_dbt_row,
)

PAPER = (
    "Du, Hooley, Lewin, Dvornek: SIFT-DBT: Self-supervised Initialization and Fine-Tuning for Imbalanced "
    "Digital Breast Tomosynthesis Image Classification, ISBI 2024"
)

SIFT_DBT = Method(
    summary="MoCo v2 on metadata pairs, then local multi-patch fine-tuning",
    objective="moco-v2",
    sampler="metadata-pairs",
    finetuner="local-multi-patch",
    objective_config=DBT_VIEWS,
    sampler_config={"p_view": 0.5, "reach": 4},
    pretrain=MOCO_SCHEDULE,
    presets={
        "mocov2": {"objective": MOCO_PUBLISHED},
        "as-released": {
            "objective": MOCO_AS_RELEASED,
            "sampler": {"half_open": True},
            "pretrain": MOCO_RELEASED_SCHEDULE,
        },
    },
    paper=PAPER,
    reference="XYPB/SIFT_DBT at bcc16a5b",
    reported=(
        sift_dbt_row(1, 89.73, 99.83, 86.36, 73.44, 76.78, 83.62, backbone="cnn7"),
        sift_dbt_row(1, 90.31, 99.89, 81.13, 83.13, 76.69, 83.05),
        sift_dbt_row(1, 94.26, 99.95, 98.98, 60.94, 86.85, 92.98, backbone="cnn7", patches=20),
        sift_dbt_row(1, 93.67, 99.98, 76.38, 88.44, 82.20, 97.16, patches=20),
        sift_dbt_row(2, 87.80, 65.00, 71.74, backbone="cnn7", finetuner="linear"),
        sift_dbt_row(2, 87.72, 71.56, 68.09, backbone="cnn7", finetuner="full"),
        sift_dbt_row(2, 87.28, 79.69, 71.57, finetuner="linear"),
        sift_dbt_row(2, 87.94, 75.62, 73.43, finetuner="full"),
        sift_dbt_row(3, 78.85, 99.64, 74.73, 74.35, 52.84, 65.85, backbone="cnn7"),
        sift_dbt_row(3, 69.55, 99.67, 24.36, 92.31, 31.05, 55.89),
        sift_dbt_row(3, 92.58, 99.81, 84.15, 84.62, 82.71, 93.52, backbone="cnn7", patches=20),
        sift_dbt_row(3, 92.69, 99.81, 83.97, 84.62, 80.86, 97.81, patches=20),
    ),
)
