"""MoCo v2 on tomosynthesis as SIFT-DBT runs it: views, schedule, and the settings of two presets.

Methods that share them differ in nothing else. The schedule is what the released code does (XYPB/SIFT_DBT at bcc16a5b:
README:44, `main_pretrain.py`, `opt.py`), not what its arguments say: ``--lr 0.015`` is scaled there to 0.0075. That
code has a queue of 4096 on each of four GPUs, filled with that GPU's keys alone, 128 steps deep; ours is one queue of
gathered keys, 32 steps deep at 4096.
"""

from __future__ import annotations

from typing import Any

DBT_VIEWS: dict[str, Any] = {
    "crop_size": 448,
    "crop_scale": (0.4, 1.0),
    "rotation": 30.0,
    "p_rotation": 0.2,
}
"""Keys of `PairViews`: crop, rotation, flip and blur of SIFT-DBT's `main_pretrain.py:128` (lightly 1.4.14)."""

MOCO_SCHEDULE: dict[str, Any] = {
    "epochs": 4000,
    "batch_size": 128,
    "slices_per_volume": 1,
    "optimizer": "sgd",
    "lr": 0.0075,
    "weight_decay": 1e-4,
    "momentum": 0.9,
    "warmup_epochs": 0.0,
    "min_lr": 1e-6,
}
"""The pretraining schedule of SIFT-DBT's released code, as keys of a method's ``pretrain``."""

MOCO_RELEASED_SCHEDULE = {key: value for key, value in MOCO_SCHEDULE.items() if key != "epochs"}
"""The same without the epochs: those of a benchmark stand in its table beside the method's own."""

MOCO_PUBLISHED: dict[str, Any] = {
    "temperature": 0.2,
    "queue_size": 65536,
    "momentum": 0.999,
    "momentum_schedule": "constant",
    "brightness": 0.4,
    "contrast": 0.4,
}
"""MoCo v2's own settings: facebookresearch/moco at 7397dfe1, README:51, `main_moco.py:153-170`, jitter `:326`."""

MOCO_AS_RELEASED: dict[str, Any] = {
    "temperature": 0.5,
    "queue_size": 4096,
    "momentum": 0.996,
    "momentum_schedule": "cosine",
    "brightness": 0.16,
    "contrast": 0.16,
}
"""MoCo v2 as SIFT-DBT's released code sets it (XYPB/SIFT_DBT at bcc16a5b)."""
