"""Weights from elsewhere: one channel from three, every key checked, no code run, and timm's from a hub's cache."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file

from dbtssl.errors import ConfigError, DataError, DbtsslError
from dbtssl.nn.backbones import create_encoder
from dbtssl.nn.weights import fit, load_timm_weights, load_weights

NAME, HUB = "resnet10t", "models--timm--resnet10t.c3_in1k"


@pytest.fixture(scope="module")
def colour():
    """A network as others publish it: three channels, a classifier."""
    torch.manual_seed(5)
    return timm.create_model(NAME, num_classes=7).eval()


@pytest.fixture
def file(colour, tmp_path):
    save_file(colour.state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def same(a, b) -> bool:
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def test_a_grey_image_gets_the_response_of_the_colour_network(colour, file):
    encoder = create_encoder(NAME).eval()
    load_weights(encoder, file)
    grey = torch.rand(2, 1, 64, 64)
    expected = colour.forward_head(
        colour.forward_features(grey.expand(-1, 3, -1, -1)), pre_logits=True
    )
    torch.testing.assert_close(encoder(grey), expected, atol=1e-4, rtol=1e-4)


def test_the_first_kernels_are_added_up_and_all_else_is_kept(colour, file):
    encoder = create_encoder(NAME)
    load_weights(encoder, file)
    own, theirs = encoder.state_dict(), colour.state_dict()
    first = "conv1.0.weight"
    assert own[first].shape[1] == 1
    torch.testing.assert_close(own[first][:, 0], theirs[first].sum(dim=1))
    assert theirs.keys() - own.keys() == {"fc.weight", "fc.bias"}
    assert all(torch.equal(own[name], theirs[name]) for name in own.keys() - {first})


def test_a_transformers_patches_become_grey(tmp_path):
    args = {"img_size": 32, "depth": 1, "embed_dim": 12, "num_heads": 2}
    full = timm.create_model("vit_tiny_patch16_224", **args).eval()
    save_file(full.state_dict(), tmp_path / "vit.safetensors")
    encoder = create_encoder("vit_tiny_patch16_224", **args).eval()
    load_weights(encoder, tmp_path / "vit.safetensors")
    grey = torch.rand(2, 1, 32, 32)
    theirs = full.forward_head(full.forward_features(grey.expand(-1, 3, -1, -1)), pre_logits=True)
    torch.testing.assert_close(encoder(grey), theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["cnn7", NAME])
def test_an_encoder_of_ours_is_read_as_it_is(name, tmp_path):
    args = {"base_channels": 2} if name == "cnn7" else {}
    one, other = create_encoder(name, **args), create_encoder(name, **args)
    save_file(one.state_dict(), tmp_path / "encoder.safetensors")
    assert not same(one, other)
    load_weights(other, tmp_path / "encoder.safetensors")
    assert same(one, other)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_pth_files_of_weights_alone_are_read(colour, file, wrapper, tmp_path):
    state = colour.state_dict()
    torch.save({"epoch": 3, wrapper: state} if wrapper else state, tmp_path / "weights.pth")
    one, other = create_encoder(NAME), create_encoder(NAME)
    load_weights(one, file)
    load_weights(other, tmp_path / "weights.pth")
    assert same(one, other)


def test_counters_of_batches_may_be_absent(colour):
    state = {k: v for k, v in colour.state_dict().items() if "num_batches" not in k}
    encoder = create_encoder(NAME)
    fit(encoder, state, "an old file")
    assert torch.equal(encoder.bn1.running_mean, colour.bn1.running_mean)


def test_missing_unexpected_and_misshapen_names_are_listed_and_nothing_is_loaded(colour):
    state = colour.state_dict()
    del state["layer1.0.conv1.weight"], state["bn1.bias"]
    state["module.extra"] = torch.zeros(1)
    state["layer2.0.conv1.weight"] = torch.zeros(2, 2)
    encoder = create_encoder(NAME)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    with pytest.raises(ConfigError) as caught:
        fit(encoder, state, "a.safetensors")
    message = caught.value.message
    assert "a.safetensors do not fit the backbone" in message
    assert "2 missing: bn1.bias, layer1.0.conv1.weight" in message
    assert "1 unexpected: module.extra" in message
    assert "1 of another shape: layer2.0.conv1.weight (2, 2) for " in message
    assert "timm's names" in caught.value.hint
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())


def test_a_long_list_is_cut(file):
    with pytest.raises(ConfigError, match=r"missing: .* and \d+ more; \d+ unexpected: .* more"):
        load_weights(create_encoder("cnn7", base_channels=2), file)


def test_an_extra_layer_named_like_the_classifier_is_not_swallowed(colour):
    with pytest.raises(ConfigError, match=r"1 unexpected: fcx\.weight"):
        fit(create_encoder(NAME), colour.state_dict() | {"fcx.weight": torch.zeros(1)}, "x")


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    class Code:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": Code()}, tmp_path / "weights.pth")
    with pytest.raises(DataError, match="cannot be read as weights alone") as caught:
        load_weights(create_encoder(NAME), tmp_path / "weights.pth")
    assert "safetensors" in caught.value.hint
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_a_broken_file_is_refused(name, tmp_path):
    (tmp_path / name).write_bytes(b"no weights")
    with pytest.raises(DataError, match=f"{name} cannot be read"):
        load_weights(create_encoder(NAME), tmp_path / name)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 3}])
def test_a_file_without_a_table_of_tensors_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(DataError, match="holds no table of tensors"):
        load_weights(create_encoder(NAME), tmp_path / "weights.pth")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub's client, and no way to the hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_imagenet_weights_come_from_the_hubs_cache(hub):
    torch.manual_seed(6)
    published = timm.create_model(NAME)
    snapshot = hub / HUB / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    save_file(published.state_dict(), snapshot / "model.safetensors")
    (hub / HUB / "refs").mkdir()
    (hub / HUB / "refs" / "main").write_text("0123abc")
    encoder = create_encoder(NAME).eval()
    load_timm_weights(encoder, NAME, {}, imagenet=True)
    torch.testing.assert_close(
        encoder.conv1[0].weight, published.conv1[0].weight.sum(dim=1, keepdim=True)
    )
    assert torch.equal(encoder.layer4[0].conv1.weight, published.layer4[0].conv1.weight)


def test_weights_that_cannot_be_fetched_are_told(hub):
    with pytest.raises(
        DbtsslError, match="timm's weights of backbone 'resnet10t' cannot"
    ) as caught:
        load_timm_weights(create_encoder(NAME), NAME, {}, imagenet=True)
    assert "HF_HOME" in caught.value.hint
    assert "weights = " in caught.value.hint


def test_a_backbone_without_published_weights_is_refused():
    with pytest.raises(ConfigError, match="timm has no pretrained weights of backbone 'cnn7'"):
        load_timm_weights(create_encoder("cnn7", base_channels=2), "cnn7", {}, imagenet=False)


def test_other_weights_are_not_called_imagenet(hub):
    name = "vit_small_patch14_dinov2"
    args = {"img_size": 28, "depth": 1, "embed_dim": 12, "num_heads": 2}
    with pytest.raises(ConfigError, match=r"lvd142m\) were not trained on ImageNet") as caught:
        load_timm_weights(create_encoder(name, **args), name, args, imagenet=True)
    assert 'weights = "timm"' in caught.value.hint
    with pytest.raises(
        DbtsslError, match="cannot be loaded"
    ):  # asked for by its own name it is tried
        load_timm_weights(create_encoder(name, **args), name, args, imagenet=False)
