"""Rows of SIFT-DBT's tables, which most methods of the benchmark are compared with, each with its evaluation set."""

from __future__ import annotations

from typing import Literal

from dbtssl.errors import PluginError
from dbtssl.evaluation.predictions.evaluation_sets import FULL, SUB5
from dbtssl.interfaces import Reported

METRICS = ("auc", "npv", "nr", "ar", "sp@87", "sp@80")
COLUMNS = {1: METRICS, 2: ("auc", "ar", "sp@87"), 3: METRICS}  # table -> what it reports


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
        PluginError: The paper has no such table, or the table another number of columns.
    """
    if table not in COLUMNS or len(percent) != len(COLUMNS[table]):
        shown = "; ".join(f"{n}: {', '.join(names)}" for n, names in COLUMNS.items())
        raise PluginError(
            f"sift_dbt_row: got {len(percent)} values of table {table}, expected a value for each column "
            f"of one of the tables ({shown})",
            hint="give the number of the table, and its values in this order",
        )
    return Reported(
        level="volume" if table == 3 else "slice",
        backbone=backbone,
        finetuner=finetuner,
        patches=patches,
        values=dict(zip(COLUMNS[table], percent, strict=True)),
        protocol="as-published",
        evaluation_set=SUB5 if table < 3 and patches == 1 else FULL,
        source=f"SIFT-DBT, table {table}",
    )
