"""One method an objective: its paper's schedule, on the same slices and views as ``moco-v2``.

Learning rates are the paper's or its code's, scaled to a batch of 128 by their own rule: linear in the batch, but
SimCLR's with its square root, and LeJEPA's not at all. Weight decay, warm-up, epochs and what is left out of decay are
theirs too. Each constant says where it comes from; what differs from the authors' code stands in this plugin's README.
With LARS, biases and norms neither decay nor are they scaled, as in the four papers that use it. None of the papers
pretrains on tomosynthesis, so no number is reported.
"""

from __future__ import annotations

from typing import Any

from dbtssl.api import DBT_VIEWS, Method

MULTI_CROP = DBT_VIEWS | {"local_size": 192}  # 96 of 224 pixels in the papers, 192 of 448 here

ADAMW = {"batch_size": 128, "optimizer": "adamw", "warmup_epochs": 10.0}
SGD = {"batch_size": 128, "optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-4}
LARS = {
    "batch_size": 128,
    "optimizer": "lars",
    "momentum": 0.9,
    "warmup_epochs": 10.0,
    "weight_decay": 1e-6,
    "decay_bias_norm": False,
}


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
    # README, the ImageNet command: 0.075 with `--learning_rate_scaling=sqrt`, which is 0.3 a batch of 256 at 4096
    LARS | {"epochs": 100, "lr": 0.075 * 128**0.5, "weight_decay": 1e-4},
    "Chen et al., A Simple Framework for Contrastive Learning, arXiv:2002.05709, 2020",
    "google-research/simclr, README",
)
BYOL = _method(
    "byol",
    "BYOL",
    # `byol/configs/byol.py`, its presets for 300 epochs
    DBT_VIEWS | {"momentum": 0.99},
    LARS | {"epochs": 300, "lr": 0.3 * 128 / 256},
    "Grill et al., Bootstrap Your Own Latent, arXiv:2006.07733, 2020",
    "google-deepmind/deepmind-research, byol/configs/byol.py",
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
    # `main.py`: 0.2 for weights and 0.0048 for biases and norms, down to a thousandth; epochs of the ablations
    LARS
    | {
        "epochs": 300,
        "lr": 0.2 * 128 / 256,
        "min_lr": 0.2 * 128 / 256 / 1000,
        "bias_norm_lr": 0.0048 / 0.2,
    },
    "Zbontar et al., Barlow Twins, arXiv:2103.03230, 2021",
    "facebookresearch/barlowtwins, main.py",
)
VICREG = _method(
    "vicreg",
    "VICReg",
    DBT_VIEWS,
    # README, the command for 100 epochs; `main_vicreg.py`: down to a thousandth
    LARS | {"epochs": 100, "lr": 0.3 * 128 / 256, "min_lr": 0.3 * 128 / 256 / 1000},
    "Bardes, Ponce, LeCun, VICReg, arXiv:2105.04906, 2021",
    "facebookresearch/vicreg, README",
)
DINO = _method(
    "dino",
    "DINO",
    # convolutional encoders end in a pooled ReLU, whose outputs lie in one direction: the head must centre them
    MULTI_CROP | {"batch_norm": True},
    # defaults of `main_dino.py`, for its transformers; it clips the gradient of each parameter by itself, here it is
    # all of them together. Its README trains `resnet50` with SGD, 0.03 a batch of 256, and weight decay 1e-4
    ADAMW
    | {
        "epochs": 100,
        "lr": 5e-4 * 128 / 256,
        "min_lr": 1e-6,
        "weight_decay": 0.04,
        "weight_decay_end": 0.4,
        "decay_bias_norm": False,
        "clip_norm": 3.0,
    },
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
    DBT_VIEWS | {"local_size": 196},  # 98 of 224 pixels, 196 of 448 here
    # README, "Training Configuration": weight decay of ResNets (transformers: 5e-2); warm-up: `MINIMAL.md`
    ADAMW | {"epochs": 100, "lr": 5e-4, "min_lr": 5e-7, "weight_decay": 5e-4, "warmup_epochs": 1.0},
    "Balestriero and LeCun, LeJEPA, arXiv:2511.08544, 2025",
    "rbalestr-lab/lejepa, README.md and MINIMAL.md",
)
