"""Method ``sift-dbt``: MoCo v2 on metadata pairs, then local multi-patch fine-tuning, with the paper's tables.

Views, schedule and objective are those of ``moco-v2``, so the two rows differ in their pairs alone. Preset ``mocov2``
has MoCo v2's own temperature, queue and momentum and a symmetric window of slices, as the row has without a preset;
``as-released`` has the released code's (XYPB/SIFT_DBT at bcc16a5b), its half-open window and its optimiser.
"""

from __future__ import annotations

from dbtssl_moco.method import AS_RELEASED, DBT_VIEWS, MOCOV2, PRETRAIN, RELEASED_SCHEDULE

from dbtssl.api import Method, Reported

PAPER = (
    "Du, Hooley, Lewin, Dvornek: SIFT-DBT: Self-supervised Initialization and Fine-Tuning for Imbalanced "
    "Digital Breast Tomosynthesis Image Classification, ISBI 2024"
)

# NPV gives away which test set a row was measured on: with one patch a slice, table 1 has a subset of 892 volumes
# (59,300 slices); the rows with 20 patches and all of table 3 have all 3,775 volumes
SUBSET, FULL = "bcs-dbt-sift-test-sub5", "bcs-dbt-sift-test-full"
ALL = ("auc", "npv", "nr", "ar", "sp@87", "sp@80")
FINE_TUNING = ("auc", "ar", "sp@87")


def _row(
    table: int, backbone: str, patches: int, *percent: float, finetuner: str = "discriminative"
) -> Reported:
    """A row of table 1 (slices), 2 (fine-tuning, slices) or 3 (volumes)."""
    names = FINE_TUNING if table == 2 else ALL
    return Reported(
        level="volume" if table == 3 else "slice",
        backbone=backbone,
        finetuner=finetuner,
        patches=patches,
        values=dict(zip(names, percent, strict=True)),
        protocol="as-published",
        evaluation_set=SUBSET if table < 3 and patches == 1 else FULL,
        source=f"SIFT-DBT, table {table}",
    )


SIFT_DBT = Method(
    summary="MoCo v2 on metadata pairs, then local multi-patch fine-tuning",
    objective="moco-v2",
    sampler="metadata-pairs",
    finetuner="local-multi-patch",
    objective_config=DBT_VIEWS,
    sampler_config={"p_view": 0.5, "reach": 4},
    pretrain=PRETRAIN,
    presets={
        "mocov2": {"objective": MOCOV2},
        "as-released": {
            "objective": AS_RELEASED,
            "sampler": {"half_open": True},
            "pretrain": RELEASED_SCHEDULE,
        },
    },
    paper=PAPER,
    reference="XYPB/SIFT_DBT at bcc16a5b",
    reported=(
        _row(1, "cnn7", 1, 89.73, 99.83, 86.36, 73.44, 76.78, 83.62),
        _row(1, "resnet50", 1, 90.31, 99.89, 81.13, 83.13, 76.69, 83.05),
        _row(1, "cnn7", 20, 94.26, 99.95, 98.98, 60.94, 86.85, 92.98),
        _row(1, "resnet50", 20, 93.67, 99.98, 76.38, 88.44, 82.20, 97.16),
        _row(2, "cnn7", 1, 87.80, 65.00, 71.74, finetuner="linear"),
        _row(2, "cnn7", 1, 87.72, 71.56, 68.09, finetuner="full"),
        _row(2, "resnet50", 1, 87.28, 79.69, 71.57, finetuner="linear"),
        _row(2, "resnet50", 1, 87.94, 75.62, 73.43, finetuner="full"),
        _row(3, "cnn7", 1, 78.85, 99.64, 74.73, 74.35, 52.84, 65.85),
        _row(3, "resnet50", 1, 69.55, 99.67, 24.36, 92.31, 31.05, 55.89),
        _row(3, "cnn7", 20, 92.58, 99.81, 84.15, 84.62, 82.71, 93.52),
        _row(3, "resnet50", 20, 92.69, 99.81, 83.97, 84.62, 80.86, 97.81),
    ),
)
