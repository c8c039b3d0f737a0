"""Methods ``implants`` and ``implants-no-labels``: our own, with settings of our own; no paper reports them."""

from __future__ import annotations

from dbtssl.api import Method

VIEWS = {"crop_size": 448}
PRETRAIN = {
    "epochs": 400,
    "batch_size": 64,
    "slices_per_volume": 1,
    "optimizer": "adamw",
    "lr": 2e-3,
    "weight_decay": 1e-3,
    "warmup_epochs": 20.0,
    "min_lr": 0.0,
}

IMPLANTS = Method(
    summary="painted objects, then fine-tuning from the presence head",
    objective="implants",
    sampler="inter-slice",
    finetuner="presence",
    objective_config=VIEWS,
    sampler_config={"reach": 2},
    pretrain=PRETRAIN,
    paper="of this project, unpublished",
)
NO_LABELS = IMPLANTS.model_copy(
    update={
        "summary": "painted objects alone: the presence head as it is, no label read",
        "finetuner_config": {"use": "head"},
    }
)
