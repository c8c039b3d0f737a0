"""What an author writes for another loss, and for an average of the weights: ten lines each."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.ops import sigmoid_focal_loss

from dbtssl.api import (
    ConfigError,
    Field,
    PatchClassifier,
    PatchRule,
    PatchTraining,
    Run,
    create_encoder,
    train_classifier,
    train_patches,
)
from dbtssl.testing.toy_slices import toy_labelled

RULE = PatchRule(64)
SHORT = {"epochs": 2, "batch_size": 8, "steps_per_epoch": 3, "lr": 0.05}
DECAY = 0.9


class Focal:
    """The focal loss (Lin et al., ICCV 2017) in place of the cross-entropy."""

    class Config(PatchTraining):
        gamma: float = Field(2.0, ge=0, description="weight of hard patches; 0: cross-entropy")

    def __init__(self, config):
        self.config = config

    def fit(self, encoder, train, val, run):
        model = PatchClassifier(copy.deepcopy(encoder), seed=run.seed)
        return train_classifier(model, self.config, train, val, run, loss=self.loss)

    def loss(self, logits, labels):
        return sigmoid_focal_loss(logits, labels, alpha=-1, gamma=self.config.gamma).mean()


class Averaged(nn.Module):
    """Trains ``online``; its answers are those of the exponential average of the weights."""

    def __init__(self, online):
        super().__init__()
        self.online = online
        self.average = AveragedModel(
            online, multi_avg_fn=get_ema_multi_avg_fn(DECAY), use_buffers=True
        ).requires_grad_(False)

    def forward(self, patches):
        return (self.online if self.training else self.average)(patches)


def update(model, progress):
    model.average.update_parameters(model.online)


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    root = tmp_path_factory.mktemp("toys")
    return [toy_labelled(root / str(s), patients=4, n_slices=4, seed=s) for s in range(2)]


@pytest.fixture(scope="module")
def encoder():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return create_encoder("cnn7", base_channels=2)


def same(a, b):
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def test_a_focal_loss_is_a_function_of_logits_and_labels(toys, encoder, tmp_path):
    def fit(name, gamma):
        run = Run(0, RULE, tmp_path / name, "cpu")
        return Focal(Focal.Config(**SHORT, gamma=gamma)).fit(encoder, *toys, run)

    plain = train_classifier(
        PatchClassifier(copy.deepcopy(encoder)),
        PatchTraining(**SHORT),
        *toys,
        Run(0, RULE, tmp_path / "plain", "cpu"),
    )
    for found, expected in zip(
        fit("zero", 0.0).parameters(), plain.parameters(), strict=True
    ):  # without weights it is the cross-entropy
        torch.testing.assert_close(found, expected)
    assert not same(fit("two", 2.0), plain)
    with pytest.raises(ConfigError, match="the state of another fine-tuning"):
        fit("plain", 2.0)


def average(toys, encoder, folder, after_step, epochs=2):
    model = Averaged(PatchClassifier(copy.deepcopy(encoder)))
    optimizer = torch.optim.SGD(model.online.parameters(), lr=0.05)
    schedule = {"epochs": epochs, "batch_size": 8, "steps_per_epoch": 3}
    run = Run(0, RULE, folder, "cpu")
    return train_patches(model, optimizer, *toys, run, after_step=after_step, **schedule)


def test_an_average_of_the_weights_is_a_hook(toys, encoder, tmp_path):
    """Compared with the average by hand; of one epoch, the last weights are the best."""
    seen, done = [], []

    def watch(model, progress):
        update(model, progress)
        seen.append([p.detach().clone() for p in model.online.parameters()])
        done.append(progress)

    model = average(toys, encoder, tmp_path, watch, epochs=1)
    expected = seen[0]
    for weights in seen[1:]:
        expected = [DECAY * a + (1 - DECAY) * b for a, b in zip(expected, weights, strict=True)]
    for found, value in zip(model.average.module.parameters(), expected, strict=True):
        torch.testing.assert_close(found, value)
    assert done == pytest.approx([1 / 3, 2 / 3, 1.0])
    patches = torch.rand(2, 1, 64, 64)
    assert torch.equal(model(patches), model.average.module(patches))
    assert not torch.equal(model(patches), model.online(patches))


def test_a_killed_run_goes_on_with_the_average(toys, encoder, tmp_path):
    class Killed(BaseException):
        pass

    def kill(model, progress):
        update(model, progress)
        if progress > 0.5:
            raise Killed

    kill.__qualname__ = update.__qualname__  # the hook of one run
    straight = average(toys, encoder, tmp_path / "straight", update)
    with pytest.raises(Killed):
        average(toys, encoder, tmp_path / "killed", kill)
    assert same(average(toys, encoder, tmp_path / "killed", update), straight)


def test_another_hook_is_another_run(toys, encoder, tmp_path):
    average(toys, encoder, tmp_path, update)
    with pytest.raises(ConfigError, match="the state of another fine-tuning"):
        average(toys, encoder, tmp_path, lambda model, progress: None)
