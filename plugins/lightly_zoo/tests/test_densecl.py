from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dbtssl.api import (
    ConfigError,
    create_encoder,
    own_keys,
    place_width,
    places_and_pooled,
)
from dbtssl.nn.devices.split_batchnorm import SplitBatchNorm2d
from dbtssl.testing.toy_objective import ToyEncoder, toy_batch

from .conftest import build


def test_a_step_by_hand():
    """Each place is paired with the place of the key that looks most alike to the encoder."""
    objective = build("densecl", splits=1, dense_weight=0.3)
    data, other = toy_batch(objective, n=4), copy.deepcopy(objective)
    found, places, image, _ = other.query(data.views[0])
    key_found, key_places, key, _ = other.key(data.views[1])
    dense = []
    for b in range(4):
        for n in range(found.shape[1]):
            alike = F.cosine_similarity(found[b, n][None], key_found[b], dim=1)
            positive = places[b, n] @ key_places[b, int(alike.argmax())]
            logits = torch.cat([positive[None], other.places.keys @ places[b, n]]) / 0.2
            dense.append(-logits.log_softmax(0)[0])
    whole = [
        -(torch.cat([(image[b] @ key[b])[None], other.images.keys @ image[b]]) / 0.2).log_softmax(
            0
        )[0]
        for b in range(4)
    ]
    expected = 0.7 * torch.stack(whole).mean() + 0.3 * torch.stack(dense).mean()
    torch.testing.assert_close(objective(data).loss, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(objective.images.keys[:4], key, atol=1e-5, rtol=1e-5)
    pooled = F.normalize(copy.deepcopy(other.key.module.place)(key_found).mean(dim=1), dim=1)
    torch.testing.assert_close(objective.places.keys[:4], pooled, atol=1e-5, rtol=1e-5)
    assert objective.places.breast[:4].tolist() == [0, 0, 1, 1]


def test_queues_are_in_the_state_and_the_next_losses_equal():
    objective, other = build("densecl"), build("densecl", seed=1)
    objective(toy_batch(objective))
    objective.after_step(0.5)
    assert {"images.keys", "images.pointer", "places.keys"} <= objective.state_dict().keys()
    other.load_state_dict(objective.state_dict())
    data = toy_batch(objective, seed=4)
    torch.manual_seed(3)
    expected = objective(data).loss
    torch.manual_seed(3)
    assert torch.equal(other(data).loss, expected)


def test_own_keys_can_be_left_out():
    plain, careful = (
        build("densecl", splits=1),
        build("densecl", splits=1, exclude_negatives="patient"),
    )
    data = toy_batch(plain)
    torch.testing.assert_close(plain(data).loss, careful(data).loss)  # the queues are nobody's
    assert careful(data).loss < plain(data).loss
    assert own_keys(careful.images, data, 0, "patient")[:, :8].sum(dim=1).tolist() == [4] * 8


def test_the_kept_encoder_is_whole_and_keys_get_no_gradient():
    objective = build("densecl")
    objective(toy_batch(objective)).loss.backward()
    assert all(p.grad is None for p in objective.key.parameters())
    assert all(p.grad is not None for p in objective.query.parameters())
    kept = objective.encoder()
    assert kept.state_dict().keys() == ToyEncoder().state_dict().keys()
    assert kept(torch.rand(5, 1, 20, 20)).shape == (5, 10)  # 5 cannot be cut into 4
    assert isinstance(objective.query.encoder.norm, SplitBatchNorm2d)


@pytest.mark.parametrize(
    ("name", "args", "size", "places", "width"),
    [
        ("cnn7", {"base_channels": 2}, 64, 1, 16),
        ("resnet10t", {}, 64, 4, 512),
        ("mobilenetv3_small_050", {}, 64, 4, 288),
        ("vit_tiny_patch16_224", {"img_size": 32, "depth": 1, "reg_tokens": 3}, 32, 4, 192),
        ("swin_tiny_patch4_window7_224", {"img_size": 64, "depths": (1, 1, 1, 1)}, 64, 4, 768),
    ],
)
def test_places_of_every_kind_of_encoder(name, args, size, places, width):
    encoder = create_encoder(name, **args)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    assert place_width(encoder, (size, size)) == width
    assert encoder.training
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())
    encoder.eval()
    images = torch.rand(2, 1, size, size)
    found, pooled = places_and_pooled(encoder, images)
    assert found.shape == (2, places, width)
    torch.testing.assert_close(pooled, encoder(images))


def test_places_keep_their_order():
    encoder = ToyEncoder().eval()
    images = torch.rand(2, 1, 20, 20)
    found, _ = places_and_pooled(encoder, images)
    features = encoder.forward_features(images)
    width = features.shape[3]
    assert torch.equal(found[1, 2 * width + 1], features[1, :, 2, 1])


def test_an_encoder_without_a_map_is_refused():
    class Flat(nn.Module):
        num_features = 4

        def forward(self, x):
            return x.flatten(1)[:, :4]

    with pytest.raises(ConfigError, match="Flat gives no feature map"):
        build("densecl", encoder=Flat())
