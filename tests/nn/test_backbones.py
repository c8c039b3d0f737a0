import pytest
import torch

from dbtssl.errors import ConfigError
from dbtssl.nn.backbones import create_encoder


@pytest.mark.parametrize(
    ("name", "args", "size"),
    [
        ("cnn7", {"base_channels": 2}, 64),
        ("resnet10t", {}, 32),
        ("mobilenetv3_small_050", {}, 32),
        ("vit_tiny_patch16_224", {"img_size": 32, "depth": 1}, 32),
    ],
)
def test_one_channel_in_and_num_features_out(name: str, args: dict[str, int], size: int) -> None:
    encoder = create_encoder(name, **args).eval()
    assert encoder(torch.rand(2, 1, size, size)).shape == (2, encoder.num_features)


def test_an_unknown_name_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"unknown backbone 'resnet5O'. Did you mean 'resnet50'"):
        create_encoder("resnet5O")
    with pytest.raises(ConfigError, match="Did you mean 'cnn7'") as caught:
        create_encoder("cnn_7")
    assert "cnn7" in caught.value.hint


def test_a_registered_name_is_suggested_and_known() -> None:
    from dbtssl.plugins.registry import registry

    assert "cnn7" in registry().names("backbone")


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"backbone 'cnn7' cannot be built with .*base_chanels"):
        create_encoder("cnn7", base_chanels=16)
