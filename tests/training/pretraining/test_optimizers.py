from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from dbtssl.nn.backbones import create_encoder
from dbtssl.training.pretraining.optimizers import (
    biases_and_norms,
    make_optimizer,
    parameter_groups,
    set_rates,
)
from dbtssl.training.pretraining.pretrain import PretrainConfig


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    )


WEIGHTS = ["0.weight", "4.weight"]
VECTORS = ["0.bias", "1.weight", "1.bias", "4.bias"]


def names(net, group):
    known = {id(p): name for name, p in net.named_parameters()}
    return [known[id(p)] for p in group["params"]]


def test_one_group_where_all_are_treated_alike():
    net = network()
    (group,) = parameter_groups(net, PretrainConfig())
    assert names(net, group) == [name for name, _ in net.named_parameters()]
    assert (group["lr_factor"], group["decays"]) == (1.0, True)


@pytest.mark.parametrize(
    ("changes", "factor", "decays"),
    [
        ({"decay_bias_norm": False}, 1.0, False),
        ({"bias_norm_lr": 0.024}, 0.024, True),
        ({"decay_bias_norm": False, "bias_norm_lr": 2.0}, 2.0, False),
    ],
)
def test_biases_and_norms_can_be_treated_apart(changes, factor, decays):
    net = network()
    net[4].bias.requires_grad_(False)
    config = PretrainConfig(**changes)
    weights, vectors = parameter_groups(net, config)
    assert names(net, weights) == WEIGHTS
    assert names(net, vectors) == VECTORS[:3]
    optimizer = make_optimizer(net, config)
    set_rates(optimizer, 0.5, 0.3)
    found = [(g["lr"], g["weight_decay"]) for g in optimizer.param_groups]
    assert found == [(0.5, 0.3), (0.5 * factor, 0.3 if decays else 0.0)]


def test_a_network_of_weights_alone_has_no_second_group():
    groups = parameter_groups(nn.Linear(3, 2, bias=False), PretrainConfig(decay_bias_norm=False))
    assert [len(group["params"]) for group in groups] == [1]


def test_position_embeddings_and_tokens_of_a_transformer_go_with_the_biases():
    args = {"depth": 1, "embed_dim": 12, "num_heads": 2, "img_size": 32, "reg_tokens": 2}
    vit = create_encoder("vit_tiny_patch16_224", **args)
    apart = biases_and_norms(nn.ModuleDict({"encoder": vit}))
    assert {f"encoder.{x}" for x in ("cls_token", "pos_embed", "reg_token")} <= apart
    left = {name for name, _ in vit.named_parameters()} - {
        x.removeprefix("encoder.") for x in apart
    }
    assert left == {
        "patch_embed.proj.weight",
        *(f"blocks.0.{x}.weight" for x in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")),
    }


def gradients(net, steps):
    """The same random gradients in each call."""
    g = torch.Generator().manual_seed(1)
    return [[torch.randn(p.shape, generator=g) for p in net.parameters()] for _ in range(steps)]


def apply(net, optimizer, steps):
    for each in gradients(net, len(steps)):
        set_rates(optimizer, *steps.pop(0))
        for parameter, gradient in zip(net.parameters(), each, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()


def test_lars_by_hand():
    """You et al., 2017, equation 6 and algorithm 1; biases and norms are plain SGD (BYOL, `utils/optimizers.py`)."""
    net = network()
    hand = {name: p.detach().clone() for name, p in net.named_parameters()}
    velocity = {name: torch.zeros_like(p) for name, p in hand.items()}
    rates = [(0.2, 0.01), (0.1, 0.02), (0.05, 0.03)]
    config = PretrainConfig(optimizer="lars", lr=0.2, weight_decay=0.01, decay_bias_norm=False)
    for each, (lr, decay) in zip(gradients(net, 3), rates, strict=True):
        for (name, p), gradient in zip(hand.items(), each, strict=True):
            if name in WEIGHTS:
                trust = 0.001 * p.norm() / (gradient.norm() + decay * p.norm())
                gradient = trust * (gradient + decay * p)
            velocity[name] = 0.9 * velocity[name] + gradient
            p -= lr * velocity[name]
    apply(net, make_optimizer(net, config), list(rates))
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.detach(), hand[name], rtol=1e-5, atol=1e-7)


def test_lars_moves_weights_alike_whatever_the_scale_of_the_loss():
    one, scaled = network(), network()
    config = PretrainConfig(optimizer="lars", lr=0.2, weight_decay=1e-9)
    for net, factor in ((one, 1.0), (scaled, 50.0)):
        optimizer = make_optimizer(net, config)
        for parameter, gradient in zip(net.parameters(), gradients(net, 1)[0], strict=True):
            parameter.grad = factor * gradient
        optimizer.step()
    for name in WEIGHTS:
        torch.testing.assert_close(one.get_parameter(name), scaled.get_parameter(name))


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.8, weight_decay=0.01)),
        ("adamw", lambda p: torch.optim.AdamW(p, lr=0.2, weight_decay=0.01)),
    ],
)
def test_sgd_and_adamw_are_torchs(name, theirs):
    ours = network()
    other = copy.deepcopy(ours)
    config = PretrainConfig(optimizer=name, lr=0.2, momentum=0.8, weight_decay=0.01)
    apply(ours, make_optimizer(ours, config), [(0.2, 0.01)] * 3)
    optimizer = theirs(other.parameters())
    for each in gradients(other, 3):
        for parameter, gradient in zip(other.parameters(), each, strict=True):
            parameter.grad = gradient
        optimizer.step()
    for a, b in zip(ours.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
