"""Method ``moco-v2``: the baseline row of SIFT-DBT, with its reported numbers.

Views and schedule are those of SIFT-DBT's released code, see `dbtssl.api.objectives`. Preset ``mocov2`` takes MoCo
v2's own temperature, queue, momentum and jitter, as the row does without a preset; ``as-released`` takes the released
code's, and its optimiser, whatever the specification gives to other rows.
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
    "Chen, Fan, Girshick, He: Improved Baselines with Momentum Contrastive Learning, "
    "arXiv:2003.04297, 2020"
)

MOCO_V2 = Method(
    summary="MoCo v2 on single slices, as the baseline of SIFT-DBT",
    objective="moco-v2",
    sampler="same-slice",
    objective_config=DBT_VIEWS,
    pretrain=MOCO_SCHEDULE,
    presets={
        "mocov2": {"objective": MOCO_PUBLISHED},
        "as-released": {"objective": MOCO_AS_RELEASED, "pretrain": MOCO_RELEASED_SCHEDULE},
    },
    paper=PAPER,
    reference="facebookresearch/moco at 7397dfe1; as a baseline, XYPB/SIFT_DBT at bcc16a5b",
    reported=(
        sift_dbt_row(1, 89.80, 99.75, 93.40, 56.56, 76.65, 83.74),
        sift_dbt_row(3, 77.89, 99.64, 65.74, 76.92, 39.51, 64.05),
    ),
)
