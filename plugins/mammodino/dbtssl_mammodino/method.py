"""Method ``mammodino``."""

from __future__ import annotations

from dbtssl.api import Method

PAPER = (
    "Zhou, Wu, Xiao, Bhatia, Kass-Hout: MammoDINO, ICASSP 2026, arXiv:2510.11883, "
    "doi:10.1109/ICASSP55912.2026.11463730"
)

# DINOv2's short schedule (`ssl_default_config.yaml`): 4e-3 * sqrt(batch / 1024)
PRETRAIN = {
    "epochs": 100,
    "batch_size": 128,
    "optimizer": "adamw",
    "lr": 4e-3 * (128 / 1024) ** 0.5,
    "min_lr": 1e-6,
    "weight_decay": 0.04,
    "weight_decay_end": 0.4,
    "decay_bias_norm": False,
    "clip_norm": 3.0,  # of all gradients together; DINOv2 clips each sub-module's
    "warmup_epochs": 10.0,
}

MAMMODINO = Method(
    summary="DINOv2 on tissue and adjacent slices, after MammoDINO",
    objective="mammodino",
    sampler="adjacent-slices",
    pretrain=PRETRAIN,
    presets={
        "none": {"objective": {"cross_slice": "none"}},
        "consistency": {"objective": {"cross_slice": "consistency"}},
        "contrastive": {"objective": {"cross_slice": "contrastive"}},
        "dense": {"objective": {"cross_slice": "dense"}},
    },
    paper=PAPER,
    reference="none is published; DINOv2's parts after facebookresearch/dinov2",
)
