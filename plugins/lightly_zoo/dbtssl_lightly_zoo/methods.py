"""One method an objective: its paper's schedule as far as the loop has it, on the same slices and views as ``moco-v2``.

The loop has SGD and AdamW, no LARS and no weight-decay schedule. Where the paper trains with SGD or AdamW, learning
rate (scaled to a batch of 128 by the paper's own rule), weight decay, warm-up and epochs are the paper's; where it
trains with LARS (SimCLR, BYOL, Barlow Twins, VICReg) its rates mean nothing without LARS, and `ADAMW` is ours, untuned.
None of the papers pretrains on tomosynthesis, so no number is reported.
"""

from __future__ import annotations

from typing import Any

from dbtssl_moco.method import DBT_VIEWS

from dbtssl.api import Method

MULTI_CROP = DBT_VIEWS | {"local_size": 192}  # 96 of 224 pixels in the papers, 192 of 448 here

ADAMW = {"batch_size": 128, "optimizer": "adamw", "lr": 5e-4, "warmup_epochs": 10.0}
SGD = {"batch_size": 128, "optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-4}


def _method(
    name: str, title: str, views: dict[str, Any], pretrain: dict[str, Any], paper: str, code: str
) -> Method:
    return Method(
        summary=f"{title} on single slices",
        objective=name,
        sampler="same-slice",
        objective_config=views,
        pretrain=pretrain,
        paper=paper,
        reference=code,
    )


SIMCLR = _method(
    "simclr",
    "SimCLR",
    DBT_VIEWS,
    ADAMW | {"epochs": 100, "weight_decay": 1e-6},  # epochs of its ablations
    "Chen et al., A Simple Framework for Contrastive Learning, arXiv:2002.05709, 2020",
    "google-research/simclr",
)
BYOL = _method(
    "byol",
    "BYOL",
    DBT_VIEWS,
    ADAMW | {"epochs": 300, "weight_decay": 1e-6},  # epochs of its ablations, section 5
    "Grill et al., Bootstrap Your Own Latent, arXiv:2006.07733, 2020",
    "deepmind/deepmind-research, byol",
)
SIMSIAM = _method(
    "simsiam",
    "SimSiam",
    DBT_VIEWS,
    SGD | {"epochs": 100, "lr": 0.05 * 128 / 256},  # section 3, baseline settings
    "Chen and He, Exploring Simple Siamese Representation Learning, arXiv:2011.10566, 2020",
    "facebookresearch/simsiam",
)
BARLOW_TWINS = _method(
    "barlow-twins",
    "Barlow Twins",
    DBT_VIEWS,
    ADAMW | {"epochs": 300, "weight_decay": 1e-6},  # epochs of its ablations
    "Zbontar et al., Barlow Twins, arXiv:2103.03230, 2021",
    "facebookresearch/barlowtwins",
)
VICREG = _method(
    "vicreg",
    "VICReg",
    DBT_VIEWS,
    ADAMW | {"epochs": 100, "weight_decay": 1e-6},  # epochs of its ablations
    "Bardes, Ponce, LeCun, VICReg, arXiv:2105.04906, 2021",
    "facebookresearch/vicreg",
)
DINO = _method(
    "dino",
    "DINO",
    # convolutional encoders end in a pooled ReLU, whose outputs lie in one direction: the head must centre them
    MULTI_CROP | {"batch_norm": True},
    ADAMW | {"epochs": 100, "lr": 5e-4 * 128 / 256, "min_lr": 1e-6, "weight_decay": 0.04},
    "Caron et al., Emerging Properties in Self-Supervised Vision Transformers, arXiv:2104.14294",
    "facebookresearch/dino, main_dino.py",
)
DENSECL = _method(
    "densecl",
    "DenseCL",
    DBT_VIEWS,
    SGD | {"epochs": 200, "lr": 0.03 * 128 / 256},  # MoCo v2's, which it takes over
    "Wang et al., Dense Contrastive Learning, arXiv:2011.09157, 2020",
    "WXinlong/DenseCL",
)
LEJEPA = _method(
    "lejepa",
    "LeJEPA",
    MULTI_CROP,
    ADAMW | {"epochs": 100, "weight_decay": 0.05},
    "Balestriero and LeCun, LeJEPA, arXiv:2511.08544, 2025",
    "galilai-group/lejepa",
)
