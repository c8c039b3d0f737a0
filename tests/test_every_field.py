"""Every field of every Config that decides a result changes something, and no infra field does.

Each table holds a second value for every field. A component or a field that is new and has none fails here.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from dbtssl.api import Cohort, Config, Label, PatchRule, Run, SliceRef, Volume, infra
from dbtssl.benchmark.resolve import resolve
from dbtssl.benchmark.spec.specification import PredictSpec, RunSpec, Spec
from dbtssl.benchmark.stages.context import Context
from dbtssl.benchmark.stages.score_stages import predict_stage
from dbtssl.benchmark.stages.train_stages import CLASSIFIER, _save
from dbtssl.config import config_class, result_fields
from dbtssl.data.prepared.prepared_dataset import PreparedDataset
from dbtssl.nn.backbones import create_encoder
from dbtssl.nn.classifier import PatchClassifier
from dbtssl.plugins import registry
from dbtssl.testing.fields import check_fields
from dbtssl.testing.toy_cohort import toy_cohort
from dbtssl.testing.toy_objective import toy_batch, toy_objective
from dbtssl.testing.toy_slices import toy_labelled
from dbtssl.training.pretraining.pretrain import PretrainConfig, pretrain


@dataclass(frozen=True)
class Case:
    """The values to begin with and the second ones, where they are not those of the table for all."""

    start: dict[str, Any] = field(default_factory=dict)
    other: dict[str, Any] = field(default_factory=dict)
    backbone: tuple[str, dict[str, Any]] | None = None
    apart: int = 0  # rows of an objective's batch, the first, whose positive is of another volume


# objectives: small to begin with; keys that a Config has are taken, the others left
SMALL = {
    "dim": 6,
    "hidden": 16,
    "bottleneck": 8,
    "queue_size": 24,
    "crop_size": 20,
    "local_size": 12,
    "local_views": 3,
    "projections": 64,
}
OTHER = {
    "dim": 7,
    "hidden": 12,
    "bottleneck": 5,
    "temperature": 0.45,
    "momentum": 0.5,
    "momentum_schedule": "cosine",
    "redundancy": 0.2,
    "invariance": 3.0,
    "variance": 3.0,
    "covariance": 3.0,
    "batch_norm": True,
    "norm_last_layer": False,
    "freeze_last_layer": 0.0,
    "student_temp": 0.3,
    "teacher_temp": 0.2,
    "warmup_teacher_temp": 0.1,
    "warmup": 0.0,
    "center_momentum": 0.1,
    "queue_size": 40,
    "dense_weight": 0.9,
    "splits": 2,
    "exclude_negatives": "patient",
    "sigreg": 0.4,
    "projections": 3,
    "knots": 5,
    "t_max": 1.0,
    "local_views": 1,
    "local_size": 14,
    "local_scale": (0.1, 0.2),
    "crop_size": 24,
    "crop_scale": (0.3, 0.6),
    "flip": 0.1,
    "rotation": 10.0,
    "p_rotation": 0.5,
    "min_tissue": 0.3,
    "brightness": 0.1,
    "contrast": 0.1,
    "p_jitter": 0.2,
    "blur": (0.5, 1.0),
    "p_blur": 0.9,
}
OBJECTIVES = {
    "moco-v2": Case(),
    "simclr": Case(),
    "byol": Case(),
    "simsiam": Case(),
    "barlow-twins": Case(),
    "vicreg": Case(),
    "dino": Case(start={"warmup": 0.3, "teacher_temp": 0.07}),  # by default there is no warm-up
    "densecl": Case(),
    "lejepa": Case(),
    "mammodino": Case(
        start={"prototypes": 12, "patch_prototypes": 10, "crop_size": 16, "local_size": 8},
        other={
            "dino_weight": 0.5,
            "ibot_weight": 0.5,
            "koleo_weight": 0.7,
            "cross_slice": "dense",
            "cross_weight": 0.9,
            "contrast_dim": 5,
            "contrast_temp": 0.4,
            "exclude_negatives": "volume",
            "prototypes": 14,
            "patch_prototypes": 14,
            "norm_last_layer": True,
            "mask_probability": 1.0,
            "mask_ratio": (0.5, 0.5),
            "min_visible": 0.9,
            "tissue_patch": 0.0,
            "crop_size": (20, 12),
            "crop_tissue": 0.5,
            "local_size": 12,
            "local_tissue": 0.5,
            "tries": 3,
            "aspect": (1.0, 1.0),
        },
        backbone=(
            "vit_tiny_patch16_224",
            {"img_size": 16, "patch_size": 4, "embed_dim": 12, "depth": 1, "num_heads": 2},
        ),
    ),
    "implants": Case(
        start={"crop_size": 24, "radius": (5.0, 30.0), "height_mm": 160.0},
        other={
            "presence": 3.0,
            "place": 3.0,
            "contrast": 3.0,
            "across": 1.0,
            "kinds": (0.0, 0.0, 1.0, 0.0, 0.0, 0.0),
            "dense": 1.0,
            "radius": (2.0, 3.0),
            "amplitude": (4.0, 5.0),
            "p_dark": 1.0,
            "decoys": 1.0,
            "stretched": 1.0,
            "hardest": 0.3,
            "easy": 3.0,
            "height_mm": 90.0,
            "slice_mm": 90.0,
            "crop_size": 32,
            "margin": 2.0,
            "smallest": 0.3,
            "contrast_jitter": 0.9,
            "noise": 0.3,
            "min_tissue": 0.9,
        },
        apart=3,
    ),
}
SAMPLERS = {
    "same-slice": Case(),
    "inter-slice": Case(other={"reach": 5, "half_open": True}),
    "metadata-pairs": Case(
        other={"p_view": 0.7, "reach": 5, "half_open": True, "depth": "matched"}
    ),
    "adjacent-slices": Case(other={"reach": 5}),
    "medaug": Case(
        start={"itself": False, "p_partner": 0.5, "reach": 4},
        other={
            "study": "any",
            "side": "same",
            "itself": True,
            "p_partner": 0.6,
            "reach": 5,
            "half_open": True,
        },
    ),
}
FINETUNERS = {
    "local-multi-patch": Case(
        start={
            "epochs": 2,
            "batch_size": 8,
            "steps_per_epoch": 2,
            "lr": 0.1,
            "weight_decay": 0.01,
            "momentum": 0.5,
        },
        other={
            "strategy": "full",
            "factor": 2.6,
            "epochs": 3,
            "batch_size": 4,
            "steps_per_epoch": None,
            "optimizer": "adamw",
            "lr": 0.2,
            "momentum": 0.6,
            "weight_decay": 0.02,
            "val_patches": 2,
            "val_every": 2,
            "matched": 1.0,
        },
    )
}
FINETUNERS["presence"] = Case(
    start=FINETUNERS["local-multi-patch"].start,
    other=FINETUNERS["local-multi-patch"].other | {"use": "finetune"},
)
PRETRAIN = Case(
    start={
        "epochs": 2,
        "batch_size": 4,
        "lr": 0.05,
        "warmup_epochs": 1.0,
        "checkpoint_every": 1e6,
        "weight_decay": 0.1,
    },
    other={
        "epochs": 3,
        "batch_size": 8,
        "slices_per_volume": 2,
        "optimizer": "lars",
        "lr": 0.1,
        "weight_decay": 0.2,
        "weight_decay_end": 0.2,
        "decay_bias_norm": False,
        "bias_norm_lr": 0.5,
        "momentum": 0.5,
        "clip_norm": 1e-3,
        "warmup_epochs": 0.0,
        "min_lr": 0.01,
        "precision": "bf16-mixed",
        "checkpoint_every": 0.0,
    },
)
PREDICT = Case(
    start={"patches": 3, "patch_size": 64},
    other={
        "inference": "grid",
        "patches": 2,
        "overlap": 0.9,
        "patch_size": 72,
        "min_tissue": 0.99,
        "every": 2,
        "seed": 1,
    },
)


def second_values(config, case):
    """Those of the case, and for an objective those of the table for all."""
    known = {name: OTHER[name] for name in config.model_fields if name in OTHER}
    return known | case.other


@pytest.mark.parametrize("name", registry().names("objective"))
def test_objectives(name):
    """Views and losses of a few steps on fixed batches."""
    assert name in OBJECTIVES, "add a case, and a second value for each of its fields"
    case, config = OBJECTIVES[name], registry().load("objective", name).Config

    def trace(fields):
        objective = toy_objective(name, fields.model_dump(), backbone=case.backbone)
        trained = [p for p in objective.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(trained, lr=0.3)
        losses = []
        for step in range(4):
            torch.manual_seed(step)
            batch = toy_batch(objective, seed=step)
            for tissue in batch.tissue:
                tissue[..., tissue.shape[-1] // 2 :] = False
            if case.apart:
                anchor, other = batch.volume
                moved = other + 100 * (torch.arange(len(other)) < case.apart)
                batch = replace(batch, volume=(anchor, moved))
            loss = objective(batch).loss
            optimizer.zero_grad()
            loss.backward()
            getattr(objective, "before_step", lambda: None)()
            optimizer.step()
            objective.after_step(step / 10)
            losses.append(loss.item())
        return objective.views, losses

    start = {key: value for key, value in SMALL.items() if key in config.model_fields}
    check_fields(config, trace, second_values(config, case), start | case.start)


VIEWS = ("lcc", "lmlo", "lmlo1", "rcc", "rmlo")
COHORT = Cohort(  # a repeat, a second study with missing views, a breast alone
    [Volume("P0", "S0", view, 9 + 2 * i, 8, 8, Label.NORMAL) for i, view in enumerate(VIEWS)]
    + [Volume("P0", "S1", view, 20, 8, 8, Label.NORMAL) for view in ("lcc", "rmlo")]
    + [Volume("P1", "S0", "lcc", 20, 8, 8, Label.NORMAL)]
)


@pytest.mark.parametrize("name", registry().names("sampler"))
def test_samplers(name):
    """The positives that are drawn."""
    assert name in SAMPLERS, "add a case with a second value for each of its fields"
    case, config = SAMPLERS[name], config_class(registry().load("sampler", name))

    def trace(fields):
        sampler = registry().build("sampler", name, fields)
        rng = np.random.default_rng(0)
        anchors = [SliceRef(i, v.n_slices // 2) for i, v in enumerate(COHORT)]
        return [sampler.positive(anchor, COHORT, rng) for anchor in anchors for _ in range(30)]

    check_fields(config, trace, case.other, case.start)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    root = tmp_path_factory.mktemp("labelled")
    return [toy_labelled(root / str(s), patients=2, n_slices=3, seed=s) for s in range(2)]


@pytest.mark.parametrize("name", registry().names("finetuner"))
def test_fine_tuners(name, labelled, tmp_path):
    """Weights and log."""
    assert name in FINETUNERS, "add a case with a second value for each of its fields"
    case, config = FINETUNERS[name], registry().load("finetuner", name).Config
    torch.manual_seed(0)
    encoder = create_encoder("cnn7", base_channels=2)
    slices = labelled[0].slices
    everywhere = [SliceRef(i, z) for i, v in enumerate(slices.cohort) for z in range(v.n_slices)]
    patches = np.stack([slices.read(ref, PatchRule(64).rect(0, 0))[None] for ref in everywhere])
    with (
        torch.no_grad()
    ):  # statistics of these patches: at the first ones every feature is 0, and logits are equal
        for _ in range(50):
            encoder.train()(torch.from_numpy(patches))
    head = PatchClassifier(encoder, seed=1).head.state_dict()
    folders = iter(range(1000))

    def trace(fields):
        folder = tmp_path / str(next(folders))
        tuner = registry().build("finetuner", name, fields)
        model = tuner.fit(encoder, *labelled, Run(0, PatchRule(64), folder, "cpu", head=head))
        return sha256(model), lines(folder / "log.jsonl")

    check_fields(config, trace, case.other, case.start)


def test_pretraining(tmp_path):
    """Weights and log of a contrastive objective."""
    slices = toy_cohort(tmp_path / "data")
    sampler = registry().build("sampler", "same-slice", {})
    folders = iter(range(1000))

    def trace(config):
        folder = tmp_path / str(next(folders))
        objective = toy_objective("simclr", {"dim": 6, "hidden": 8, "crop_size": 20})
        pretrain(objective, sampler, slices, config, seed=0, folder=folder, accelerator="cpu")
        return sha256(objective), lines(folder / "log.jsonl")

    check_fields(PretrainConfig, trace, PRETRAIN.other, PRETRAIN.start)


def test_prediction(labelled, tmp_path):
    """The file that the stage writes."""
    data = {"name": "toy", "methods": ["random-init"], "backbone": {"args": {"base_channels": 2}}}
    (row,) = resolve(Spec.model_validate(data | {"predict": PREDICT.start})).rows
    root = tmp_path / "data"
    toy_labelled(root, patients=4, n_slices=3)
    split = SimpleNamespace(train=(0, 1), val=(0, 1), test=(2, 3))
    dataset = SimpleNamespace(dataset=PreparedDataset.open(root), split=split, key=dict)
    torch.manual_seed(0)
    _save(PatchClassifier(create_encoder("cnn7", base_channels=2)), tmp_path / CLASSIFIER)
    finetuned = SimpleNamespace(folder=tmp_path, content="")
    folders = iter(range(1000))

    def trace(predict):
        folder = tmp_path / str(next(folders))
        folder.mkdir()
        spec = Spec.model_validate(data | {"predict": predict.model_dump(exclude_unset=True)})
        predict_stage(Context(spec, dataset), row, 0, finetuned).run(folder)
        return [pq.read_table(folder / f"{part}.parquet").to_pylist() for part in ("val", "test")]

    grid = {"inference": "grid"}
    check_fields(PredictSpec, trace, PREDICT.other, PREDICT.start, {"overlap": grid})


def test_how_it_is_run_decides_nothing():
    """The loops show it for workers (`test_workers_change_nothing`); no key of a stage has any of it."""
    assert result_fields(RunSpec()) == {}


class Toy(Config):
    read: int = 1
    unread: int = 1
    workers: int = infra(0)
    leaky: int = infra(0)


def toy_trace(config):
    return config.read, config.leaky


def test_the_walker_finds_what_changes_nothing():
    other = {"read": 2, "unread": 2, "workers": 1, "leaky": 1}
    with pytest.raises(AssertionError) as caught:
        check_fields(Toy, toy_trace, other)
    assert str(caught.value) == (
        "Toy: leaky: marked as infra, and changes the result; unread: 2 for 1 changes nothing"
    )


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"read": 2, "unread": 2, "workers": 1}, "leaky: no second value"),
        (
            {"read": 2, "unread": 2, "workers": 1, "leaky": 1, "lost": 1},
            "lost: no such field",
        ),
        ({"read": 1, "unread": 2, "workers": 1, "leaky": 1}, "read: the second value is the first"),
    ],
)
def test_the_walker_refuses_a_table_that_does_not_fit(other, message):
    with pytest.raises(AssertionError, match=message):
        check_fields(Toy, toy_trace, other)


def test_the_walker_refuses_a_trace_that_does_not_repeat():
    draws = iter(range(100))
    other = {"read": 2, "unread": 2, "workers": 1, "leaky": 1}
    with pytest.raises(AssertionError, match="does not repeat"):
        check_fields(Toy, lambda _: next(draws), other)


def sha256(module):
    text = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        text.update(name.encode() + value.numpy().tobytes())
    return text.hexdigest()


def lines(log):
    """The log, without what the clock decides."""
    found = [json.loads(line) for line in log.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "images_per_s"} for line in found]
