from __future__ import annotations

import pytest
import torch
from dbtssl_mammodino.network import patch_size, prepare, tokens
from torch import nn

from dbtssl.api import ConfigError, create_encoder

from .conftest import WIDTH, batch, build, encoder

OTHER_VITS = [
    {},
    {"reg_tokens": 2},
    {"no_embed_class": True, "reg_tokens": 1},
    {"class_token": False, "global_pool": "avg"},
    {"global_pool": "avg"},
    {"pre_norm": True, "init_values": 0.1},
    {"pos_embed": "none"},
    {"dynamic_img_size": True},
]


@pytest.mark.parametrize("changes", OTHER_VITS, ids=str)
def test_without_a_mask_the_tokens_are_timms(changes):
    vit = encoder(**changes).eval()
    images, token = torch.rand(3, 1, 16, 16), torch.full((WIDTH,), 7.0)
    expected, pooled = vit.forward_features(images), vit(images)
    prepare(vit)
    none = torch.zeros(3, 4, 4, dtype=torch.bool)
    found = tokens(vit, images, none, token)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(vit.forward_head(found, pre_logits=True), pooled)
    torch.testing.assert_close(vit(images), pooled)


@pytest.mark.parametrize("changes", OTHER_VITS, ids=str)
def test_what_a_mask_hides_is_not_seen(changes):
    """Other pixels below the mask change nothing, the same change beside it does."""
    vit, token = prepare(encoder(**changes)).eval(), torch.full((WIDTH,), 7.0)
    images = torch.rand(1, 1, 16, 16)
    other, mask = images.clone(), torch.zeros(1, 4, 4, dtype=torch.bool)
    other[..., 4:8, 8:12] = 0.0
    mask[0, 1, 2] = True
    assert torch.equal(tokens(vit, images, mask, token), tokens(vit, other, mask, token))
    assert not torch.allclose(
        tokens(vit, images, mask.roll(1, 1), token), tokens(vit, other, mask.roll(1, 1), token)
    )


def test_masked_patches_keep_their_place():
    """The token stands in before the positional embedding: two masked patches differ by their place alone."""
    vit, token = prepare(encoder()).eval(), torch.full((WIDTH,), 0.5)
    mask = torch.ones(1, 4, 4, dtype=torch.bool)
    x = tokens(vit, torch.rand(1, 1, 16, 16), mask, token)[0, 1:]
    assert not torch.allclose(x[0], x[5])
    with torch.no_grad():
        vit.pos_embed.zero_()
    x = tokens(vit, torch.rand(1, 1, 16, 16), mask, token)[0, 1:]
    torch.testing.assert_close(x[0], x[5])


@pytest.mark.parametrize("shape", [(8, 8), (24, 16), (32, 20)])
def test_views_of_any_size_and_shape(shape):
    vit = prepare(encoder()).eval()
    rows, columns = shape
    images = torch.rand(2, 1, *shape)
    mask = torch.zeros(2, rows // 4, columns // 4, dtype=torch.bool)
    x = tokens(vit, images, mask, torch.zeros(WIDTH))
    assert x.shape == (2, 1 + rows * columns // 16, WIDTH)
    dynamic = encoder(dynamic_img_size=True).eval()
    dynamic.load_state_dict(vit.state_dict())
    torch.testing.assert_close(x, dynamic.forward_features(images))


def test_weights_are_left_as_they_were():
    vit = encoder()
    before = {k: v.clone() for k, v in vit.state_dict().items()}
    assert prepare(vit) is vit
    after = vit.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert patch_size(vit) == (4, 4)


@pytest.mark.parametrize("name", ["resnet10t", "cnn7", "swin_tiny_patch4_window7_224"])
def test_an_encoder_that_is_no_vision_transformer_is_refused(name):
    with pytest.raises(ConfigError, match="needs a vision transformer, got") as caught:
        build(vit=create_encoder(name, **({"img_size": 64} if "swin" in name else {})))
    assert "backbone = { name =" in caught.value.hint


def test_an_encoder_that_drops_patches_is_refused():
    with pytest.raises(ConfigError, match="this encoder drops some"):
        build(vit=encoder(patch_drop_rate=0.5))


@pytest.mark.parametrize("wrong", [{"crop_size": 18}, {"crop_size": (16, 18)}, {"local_size": 9}])
def test_views_that_are_no_whole_patches_are_refused(wrong):
    with pytest.raises(ConfigError, match="cannot be cut into patches of 4 x 4"):
        build(**wrong)


@pytest.mark.parametrize("changes", OTHER_VITS, ids=str)
@pytest.mark.parametrize("variant", ["contrastive", "dense"])
def test_every_kind_of_transformer_trains(changes, variant):
    objective = build(vit=encoder(**changes), cross_slice=variant, crop_size=(20, 12))
    loss = objective(batch(objective)).loss
    loss.backward()
    assert torch.isfinite(loss)
    for name, p in objective.student.named_parameters():
        assert p.grad is not None or not p.requires_grad, name
    kept = objective.encoder()
    assert kept.state_dict().keys() == encoder(**changes).state_dict().keys()
    assert kept(torch.rand(2, 1, 16, 16)).shape == (2, WIDTH)


def test_an_encoder_that_only_looks_like_one_is_refused():
    with pytest.raises(ConfigError, match="got Linear"):
        prepare(nn.Linear(2, 2))
