"""Rows of SIFT-DBT's tables, which most methods of the benchmark are compared with, each with its evaluation set."""

from __future__ import annotations

from typing import Literal

from dbtssl.evaluation.predictions.evaluation_sets import FULL, SUB5
from dbtssl.interfaces import Reported

METRICS = ("auc", "npv", "nr", "ar", "sp@87", "sp@80")
FINE_TUNING = ("auc", "ar", "sp@87")  # table 2


def sift_dbt_row(
    table: Literal[1, 2, 3],
    *percent: float,
    backbone: str = "resnet50",
    finetuner: str = "discriminative",
    patches: int = 1,
) -> Reported:
    """A row of table 1 (slices), 2 (fine-tuning, slices) or 3 (volumes), for ``Method.reported``.

    NPV shows which test set a row was measured on: slices with one patch on a subset of 892 volumes (59,300 slices),
    slices with 20 patches and all of table 3 on all 3,775 volumes.

    Args:
        table: Number of the table in the paper.
        percent: AUC, NPV, NR, AR, specificity at 87 and at 80 percent sensitivity; in table 2 AUC, AR and the former.
        backbone: The paper's backbone, as a name of ours.
        finetuner: The fine-tuning strategy of the row.
        patches: Patches per slice at test.

    Raises:
        ValueError: Another number of values than the table has columns.
    """
    names = FINE_TUNING if table == 2 else METRICS
    return Reported(
        level="volume" if table == 3 else "slice",
        backbone=backbone,
        finetuner=finetuner,
        patches=patches,
        values=dict(zip(names, percent, strict=True)),
        protocol="as-published",
        evaluation_set=SUB5 if table < 3 and patches == 1 else FULL,
        source=f"SIFT-DBT, table {table}",
    )
