"""A training that has collapsed ends, instead of wasting what is left of it and a fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.errors import TrainingError
from dbtssl.interfaces.abilities import ReportsCollapse, able
from dbtssl.interfaces.boundary import calling, marked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightning_fabric import Fabric

    from dbtssl.interfaces import Objective


def refuse_collapse(
    fabric: Fabric, objective: Objective, means: Mapping[str, float], epoch: int
) -> None:
    """Ask the objective at an epoch's end, where it is a `ReportsCollapse`.

    All ranks call this and follow rank 0, whose means are in the log. Raises `TrainingError` with the sentence.
    """
    if not able(objective, ReportsCollapse):
        return
    with calling("objective", f"collapsed, asked at the end of epoch {epoch}"):
        said = objective.collapsed(means)
    if what := fabric.broadcast(str(said or "")):
        error = TrainingError(
            f"the training collapsed by the end of epoch {epoch}: {what}",
            hint="lower pretrain.lr, lengthen pretrain.warmup_epochs, or look at the objective's temperatures and "
            "centring; log.jsonl has every epoch",
        )
        raise marked(error, "objective")
