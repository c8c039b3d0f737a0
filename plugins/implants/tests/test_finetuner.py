from __future__ import annotations

import numpy as np
import pytest
import torch

from dbtssl.api import Labelled, PatchRule, PluginError, Run, slice_auc, validation_logits
from dbtssl.plugins import registry
from dbtssl.testing.toy_objective import ToyEncoder

CONFIG = registry().load("finetuner", "presence").Config
RULE = PatchRule(16)
HEAD = {"weight": torch.linspace(-1, 1, 10)[None], "bias": torch.tensor([0.3])}


@pytest.fixture(scope="module")
def labelled(slices):
    """Every other volume is abnormal; train and validation are the same here, for this tests no honesty."""
    n = len(slices.cohort)
    return Labelled(slices, tuple(np.full(3, i % 2 == 0) for i in range(n)))


def fit(labelled, folder, encoder, head=HEAD, **config):
    settings = CONFIG(epochs=2, batch_size=8, lr=0.05, strategy="full", **config).model_dump()
    tuner = registry().build("finetuner", "presence", settings)
    run = Run(seed=0, patches=RULE, folder=folder, accelerator="cpu", head=head)
    return tuner, tuner.fit(encoder, labelled, labelled, run), run


def encoder():
    torch.manual_seed(0)
    return ToyEncoder().eval()


def test_the_head_as_it_is_reads_no_label(labelled, tmp_path):
    network = encoder()
    _, model, _ = fit(None, tmp_path, network, use="head")
    images = torch.rand(5, 1, 16, 16)
    expected = network(images) @ HEAD["weight"][0] + HEAD["bias"]
    assert torch.allclose(model(images), expected, atol=1e-6)
    assert not list(tmp_path.iterdir())


def test_fine_tuning_begins_from_the_head_and_leaves_the_encoder_alone(labelled, tmp_path):
    network = encoder()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    _, model, _ = fit(labelled, tmp_path / "a", network, use="finetune")
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    opposite = {k: -v for k, v in HEAD.items()}
    _, other, _ = fit(labelled, tmp_path / "b", network, head=opposite, use="finetune")
    assert not torch.equal(model.head.weight, HEAD["weight"])
    assert not torch.equal(model.head.weight, other.head.weight)


def test_the_average_is_the_mean_of_standardised_logits(labelled, tmp_path):
    network = encoder()
    _, head, run = fit(labelled, tmp_path / "a", network, use="head")
    _, tuned, _ = fit(labelled, tmp_path / "b", network, use="finetune")
    tuner, both, _ = fit(labelled, tmp_path / "c", network, use="average")
    images = torch.rand(6, 1, 16, 16)
    expected = 0.0
    for model in (head, tuned):
        logits = validation_logits(model, labelled, run, 1).astype(np.float64)
        expected += (model(images).detach().numpy() - logits.mean()) / logits.std() / 2
    assert both(images).detach().numpy() == pytest.approx(expected, abs=1e-4)
    again = tuner.classifier(encoder())
    again.load_state_dict(both.state_dict())
    assert torch.allclose(again.eval()(images), both(images), atol=1e-6)


def test_validation_logits_are_those_that_models_are_chosen_on(labelled, tmp_path):
    _, model, run = fit(labelled, tmp_path, encoder(), use="finetune")
    logits = validation_logits(model, labelled, run, 1)
    labels = np.concatenate(labelled.abnormal)
    log = (tmp_path / "log.jsonl").read_text().splitlines()
    best = max(float(line.split('"val_auc": ')[1].rstrip("}")) for line in log)
    assert slice_auc(logits, labels) == best


def test_an_objective_without_a_head_is_refused(labelled, tmp_path):
    with pytest.raises(PluginError, match="left no head"):
        fit(labelled, tmp_path, encoder(), head=None)
