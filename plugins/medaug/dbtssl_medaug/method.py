"""Methods ``medaug`` and ``inter-slice``: two baselines of SIFT-DBT, with their reported numbers.

Views, schedule and objective are those of ``moco-v2``: these rows, ``moco-v2`` and ``sift-dbt`` differ in their pairs
alone. The commands of the baselines are not published; what a row means is read from the flags of the released code
(XYPB/SIFT_DBT at bcc16a5b, `dataset/BCS_DBT_cls_dataset.py:281-347`). Its MedAug is half inter-slice: with probability
0.5 a random slice of another volume of the same study (``--inter-study``, MedAug's best rule) or of any study of the
patient (``--inter-patient``); else, and where there is no such volume, a near slice of the same volume.

Preset ``mocov2`` has MoCo v2's own temperature, queue and momentum and a symmetric window of slices, as the rows have
without a preset; ``as-released`` (``--inter-study``) and ``as-released-patient`` (``--inter-patient``) have those of
the released code, and its half-open window. Preset ``medaug`` is MedAug itself (stanfordmlgroup/MedAug at 0db9cd9c,
README and `moco/main_moco.py`) as far as one channel and our loop have it: AdamW stands for Adam, and a cosine for
steps of 0.1 at epochs 12 and 18. Its ResNet-18 with ImageNet weights is for the row to say (``backbone``,
``weights``); an epoch shows one slice of each volume, MedAug's shows every image.
"""

from __future__ import annotations

from typing import Any

from dbtssl.api import (
    DBT_VIEWS,
    MOCO_AS_RELEASED,
    MOCO_PUBLISHED,
    MOCO_RELEASED_SCHEDULE,
    MOCO_SCHEDULE,
    Method,
    sift_dbt_row,
)

SIFT_DBT = (
    "Du, Hooley, Lewin, Dvornek: SIFT-DBT: Self-supervised Initialization and Fine-Tuning for Imbalanced "
    "Digital Breast Tomosynthesis Image Classification, ISBI 2024"
)
PAPER = (
    "Vu, Wang, Balachandar, Liu, Ng, Rajpurkar: MedAug: Contrastive learning leveraging patient metadata "
    "improves representations for chest X-ray interpretation, MLHC 2021"
)

MEDAUG_OBJECTIVE: dict[str, Any] = {
    "temperature": 0.2,
    "queue_size": 24_576,
    "momentum": 0.999,
    "crop_size": 320,
    # RandomCrop(320) after Resize(320): a square as wide as the image, 0.77 of a slice of 2457 x 1890 pixels
    "crop_scale": (0.75, 0.8),
    "rotation": 10.0,
    "p_rotation": 1.0,
    "p_jitter": 0.0,
    "p_blur": 0.0,
}
MEDAUG_PRETRAIN: dict[str, Any] = {
    "epochs": 20,
    "batch_size": 16,
    "optimizer": "adamw",
    "lr": 1e-4,
    "weight_decay": 1e-4,
    "min_lr": 0.0,
}


INTER_SLICE = Method(
    summary="MoCo v2 on near slices of one volume, a baseline of SIFT-DBT",
    objective="moco-v2",
    sampler="inter-slice",
    objective_config=DBT_VIEWS,
    sampler_config={"reach": 4},
    pretrain=MOCO_SCHEDULE,
    presets={
        "mocov2": {"objective": MOCO_PUBLISHED},
        "as-released": {
            "objective": MOCO_AS_RELEASED,
            "sampler": {"half_open": True},
            "pretrain": MOCO_RELEASED_SCHEDULE,
        },
    },
    paper=SIFT_DBT,
    reference="XYPB/SIFT_DBT at bcc16a5b (--inter-slice)",
    reported=(
        sift_dbt_row(1, 88.67, 99.84, 87.42, 74.69, 77.29, 84.38),
        sift_dbt_row(3, 77.23, 99.73, 48.66, 87.18, 55.22, 58.86),
    ),
)

MEDAUG = Method(
    summary="MoCo v2 on volumes of one patient, as the baseline of SIFT-DBT",
    objective="moco-v2",
    sampler="medaug",
    objective_config=DBT_VIEWS,
    sampler_config={"study": "same", "itself": False, "p_partner": 0.5, "reach": 4},
    pretrain=MOCO_SCHEDULE,
    presets={
        "mocov2": {"objective": MOCO_PUBLISHED},
        "as-released": {
            "objective": MOCO_AS_RELEASED,
            "sampler": {"half_open": True},
            "pretrain": MOCO_RELEASED_SCHEDULE,
        },
        "as-released-patient": {
            "objective": MOCO_AS_RELEASED,
            "sampler": {"half_open": True, "study": "any"},
            "pretrain": MOCO_RELEASED_SCHEDULE,
        },
        "medaug": {
            "objective": MEDAUG_OBJECTIVE,
            "sampler": {"study": "same", "itself": True, "p_partner": 1.0, "reach": 0},
            "pretrain": MEDAUG_PRETRAIN,
        },
    },
    paper=PAPER,
    reference="stanfordmlgroup/MedAug at 0db9cd9c; as a baseline, XYPB/SIFT_DBT at bcc16a5b",
    reported=(
        sift_dbt_row(1, 86.89, 99.86, 78.97, 79.37, 69.80, 78.68),
        sift_dbt_row(3, 63.95, 99.30, 60.47, 58.97, 24.87, 35.71),
    ),
)
