from pathlib import Path

import pytest
import torch

from dbtssl.errors import ConfigError, PluginError
from dbtssl.nn.backbones import create_encoder
from dbtssl.plugins import add_plugin_file, registry


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
    assert "cnn7" in registry().names("backbone")


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"backbone 'cnn7' cannot be built with .*base_chanels"):
        create_encoder("cnn7", base_chanels=16)


PLUGIN = """
from torch import nn

from dbtssl.api import hookimpl

DBTSSL_API = 1


class Net(nn.Linear):
    def __init__(self, *, pretrained, in_chans, num_classes, width=None, answer=None):
        if answer == "raise":
            raise RuntimeError("no memory")
        if answer == "exit":
            raise SystemExit(2)
        super().__init__(4, 4)
        if width is not None:
            self.num_features = width


def nothing(**_):
    return None


@hookimpl
def register_components(register):
    register("backbone", "toy-net", f"{__name__}:Net", "a toy")
    register("backbone", "no-net", f"{__name__}:nothing", "a toy")
"""


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("no-net", {}, "returned None, expected a network"),
        ("toy-net", {}, "returned Net whose num_features is None, expected a whole number"),
        ("toy-net", {"width": 0}, "num_features is 0"),
        ("toy-net", {"width": 4.0}, "num_features is 4.0"),
        ("toy-net", {"answer": "raise"}, "cannot be built with .*RuntimeError: no memory"),
        ("toy-net", {"answer": "exit"}, "cannot be built with .*SystemExit: 2"),
    ],
)
def test_a_backbone_that_cannot_be_used_is_named_with_its_plugin(
    tmp_path: Path, name: str, args: dict[str, object], message: str
) -> None:
    path = tmp_path / "toy_backbones.py"
    path.write_text(PLUGIN)
    add_plugin_file(path)
    registry.cache_clear()
    with pytest.raises(
        PluginError, match=f"^backbone '{name}' of .*toy_backbones.py.*{message}"
    ) as caught:
        create_encoder(name, **args)
    assert caught.value.hint
