"""What an objective learns without labels beside its encoder: a logit for the fine-tuner, and a head of places."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from dbtssl.benchmark.inputs.open_dataset import Data
from dbtssl.benchmark.resolve import resolve
from dbtssl.benchmark.spec.specification import Spec
from dbtssl.benchmark.stages.context import Context
from dbtssl.benchmark.stages.train_stages import (
    CLASSIFIER,
    ENCODER,
    HEAD,
    PLACE,
    finetune_stage,
    load_weights,
    new_encoder,
    pretrain_stage,
)
from dbtssl.config import validate
from dbtssl.data.prepared.prepared_dataset import PreparedDataset
from dbtssl.data.splits.patient_split import Split
from dbtssl.engine.store import Store
from dbtssl.nn.feature_map import places_and_pooled
from dbtssl.testing.toy_slices import toy_labelled

SPEC = {
    "name": "toy",
    "methods": ["implants-no-labels", "moco-v2"],
    "backbone": {"name": "cnn7", "args": {"base_channels": 2}},
    "pretrain": {"epochs": 1, "batch_size": 2, "warmup_epochs": 0.0},
    "predict": {"patch_size": 64},
    "run": {"accelerator": "cpu"},
    "method": {
        "implants-no-labels": {"objective": {"crop_size": 64}},
        "moco-v2": {"objective": {"crop_size": 64, "queue_size": 8, "splits": 1}},
    },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The pretrained rows, by name, with their store and context."""
    root = tmp_path_factory.mktemp("head")
    toy_labelled(root / "data", patients=6)
    spec = validate(Spec, SPEC)
    split = Split((0, 1), (2, 3), (4, 5), "0", (1, 1, 1), (1, 1, 1))
    ctx, store = (
        Context(spec, Data(PreparedDataset.open(root / "data"), split)),
        Store(root / "store"),
    )
    rows = {row.name: row for row in resolve(spec).rows}
    done = {name: store.get(pretrain_stage(ctx, row, 0)) for name, row in rows.items()}
    return ctx, store, rows, done


def test_an_objective_with_a_head_leaves_it_beside_its_encoder(made):
    *_, done = made
    head = load_file(done["implants-no-labels"].folder / HEAD)
    width = load_file(done["implants-no-labels"].folder / ENCODER)["layer5.0.weight"].shape[0]
    assert {k: tuple(v.shape) for k, v in head.items()} == {"weight": (1, width), "bias": (1,)}
    assert not (done["moco-v2"].folder / HEAD).exists()


def test_a_head_of_places_is_kept_and_gives_a_logit_for_each_place(made):
    _, _, rows, done = made
    row = rows["implants-no-labels"]
    encoder = new_encoder(row, 0)
    head = row.objective.build(encoder).place()
    load_weights(head, done[row.name].folder / PLACE, row.name)
    places, _ = places_and_pooled(encoder, torch.rand(2, 1, 64, 64))
    assert head(places).shape == (*places.shape[:2], 1)
    assert not (done["moco-v2"].folder / PLACE).exists()


def test_the_fine_tuner_finds_it(made):
    ctx, store, rows, done = made
    name = "implants-no-labels"
    tuned = store.get(finetune_stage(ctx, rows[name], 0, done[name]))
    weights = load_file(tuned.folder / CLASSIFIER)
    head = load_file(done[name].folder / HEAD)
    assert torch.equal(weights["head.weight"], head["weight"])
    assert torch.equal(weights["head.bias"], head["bias"])
