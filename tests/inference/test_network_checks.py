"""A fine-tuned network before it scores: logits, the same when loaded again, and no probabilities."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from dbtssl.errors import PluginError
from dbtssl.inference.network_checks import check_reloaded, like_probabilities
from dbtssl.inference.predict import slice_logits
from dbtssl.patches.fixed_patches import FixedPatches
from dbtssl.patches.patch_rule import PatchRule
from dbtssl.testing.toy_slices import toy_labelled

RULE = PatchRule(32)


class Net(nn.Module):
    """The mean of a patch and a learnt scale, then whatever ``last`` makes of it."""

    def __init__(self, last=lambda x: x):
        super().__init__()
        self.scale, self.last = nn.Parameter(torch.tensor(5.0)), last

    def forward(self, x):
        return self.last(self.scale * (x.mean(dim=(1, 2, 3)) - 0.3))


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    return toy_labelled(tmp_path_factory.mktemp("reloaded")).slices


@pytest.mark.parametrize(
    "last",
    [
        lambda x: x,
        lambda x: x.clamp(0, 1),
        lambda x: x.sigmoid().logit(),
        lambda x: torch.stack([x, -x], dim=1)[:, 0],
        lambda x: x.double(),
    ],
)
def test_logits_that_come_back_pass(slices, last):
    net = Net(last)
    check_reloaded(net, lambda: copy.deepcopy(net), slices, RULE)


@pytest.mark.parametrize(
    ("last", "step"),
    [
        (torch.sigmoid, "sigmoid"),
        (lambda x: torch.stack([-x, x], dim=1).softmax(dim=1)[:, 1], "softmax"),
        (lambda x: torch.stack([-x, x], dim=1).log_softmax(dim=1)[:, 1], "logsoftmax"),
        (lambda x: x[:, None].sigmoid().squeeze(1).clone(), "sigmoid"),
    ],
)
def test_probabilities_are_refused_by_their_last_step(slices, last, step):
    net = Net(last)
    with pytest.raises(
        PluginError, match=f"probabilities, not logits: its last step is {step}\nhint"
    ) as caught:
        check_reloaded(net, lambda: copy.deepcopy(net), slices, RULE)
    assert caught.value.component == "finetuner"
    assert "leave the last sigmoid or softmax out" in caught.value.hint


def test_frozen_weights_hide_no_sigmoid(slices):
    net = Net(torch.sigmoid).requires_grad_(False)
    with pytest.raises(PluginError, match="probabilities"):
        check_reloaded(net, lambda: copy.deepcopy(net), slices, RULE)


def test_what_was_learnt_outside_the_state_is_found(slices):
    net, other = Net(), Net(lambda x: x + 0.01)
    with pytest.raises(PluginError, match=r"up to 0\.01 apart on 8 patches"):
        check_reloaded(net, lambda: other, slices, RULE)


@pytest.mark.parametrize(
    ("last", "hint"),
    [
        (lambda x: x[:, None], "x.squeeze(1)"),
        (lambda x: torch.stack([-x, x], dim=1), "x[:, 1] - x[:, 0]"),
        (lambda x: x.mean(), "one logit a patch"),
        (lambda x: x.tolist(), "one logit a patch"),
        (lambda x: None, "one logit a patch"),
    ],
)
def test_outputs_of_another_shape_are_refused_wherever_patches_are_scored(slices, last, hint):
    patches = FixedPatches(slices, RULE, count=1, seed=0)
    for size in (None, 1):
        with pytest.raises(PluginError, match="expected logits of shape") as caught:
            slice_logits(Net(last), patches, batch_size=size)
        assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [(0.1, 0.9, True), (0.0, 1.0, True), (-0.1, 0.9, False), (0.1, 1.1, False), (0.0, 0.4, False), (0.6, 0.9, False)],
)  # fmt: skip
def test_values_that_look_like_probabilities(low, high, told):
    said = like_probabilities(np.linspace(low, high, 50, dtype=np.float32))
    assert bool(said) == told
    if told:
        assert "as probabilities would" in said
