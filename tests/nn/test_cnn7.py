from itertools import pairwise

import pytest
import timm
import torch
from timm.models import group_parameters

from dbtssl.errors import ConfigError
from dbtssl.nn import cnn7


def parameters_by_hand(c: int, classes: int) -> int:
    """Weights, biases, and two of batch normalisation, for each of the seven convolutions of the released code."""
    widths = [1, c, 2 * c, 2 * c, 4 * c, 4 * c, 8 * c, 8 * c]
    convolutions = sum(9 * a * b + b + 2 * b for a, b in pairwise(widths))
    return convolutions + (8 * c * classes + classes if classes else 0)


@pytest.mark.parametrize(("channels", "classes"), [(32, 0), (32, 2), (16, 0)])
def test_parameter_count_is_that_of_seven_convolutions(channels: int, classes: int) -> None:
    model = timm.create_model("cnn7", in_chans=1, num_classes=classes, base_channels=channels)
    assert sum(p.numel() for p in model.parameters()) == parameters_by_hand(channels, classes)
    assert sum(isinstance(m, torch.nn.Conv2d) for m in model.modules()) == 7


def test_the_papers_width_has_a_million_parameters() -> None:
    assert parameters_by_hand(cnn7.BASE_CHANNELS, 2) == 1_164_802


def test_layers_are_those_of_the_released_code() -> None:
    """`models/simple_cnn.py`: (inputs, outputs, padding) of each convolution, in order, and where pooling halves."""
    table = [
        *((1, 32, 1), "norm", "relu", "halve"),
        *((32, 64, 1), "norm", "relu", (64, 64, 1), "norm", "relu", "halve"),
        *((64, 128, 1), "norm", "relu", "halve"),
        *((128, 128, 0), "norm", "relu", "halve"),
        *((128, 256, 0), "norm", "relu", (256, 256, 1), "norm", "relu"),
    ]
    found: list[object] = []
    for module in timm.create_model("cnn7", in_chans=1, num_classes=0).modules():
        if isinstance(module, torch.nn.Conv2d):
            assert (module.kernel_size, module.stride) == ((3, 3), (1, 1))
            assert module.bias is not None
            found.append((module.in_channels, module.out_channels, module.padding[0]))
        elif isinstance(module, torch.nn.BatchNorm2d):
            found.append("norm")
        elif isinstance(module, torch.nn.ReLU):
            found.append("relu")
        elif isinstance(module, torch.nn.MaxPool2d):
            assert module.kernel_size == 2
            found.append("halve")
    assert found == table


@pytest.mark.parametrize(("size", "left"), [(64, 1), (96, 3), (448, 25)])
def test_feature_map_has_the_size_of_the_layer_table(size: int, left: int) -> None:
    model = timm.create_model("cnn7", in_chans=1, num_classes=0, base_channels=2).eval()
    x = torch.rand(1, 1, size, size)
    assert model.forward_features(x).shape == (1, 16, left, left)
    assert model(x).shape == (1, model.num_features)


def test_an_image_too_small_for_the_unpadded_convolutions_is_refused() -> None:
    model = timm.create_model("cnn7", in_chans=1, num_classes=0, base_channels=2)
    with pytest.raises(ConfigError, match="got images of 64 x 63 pixels, expected 64 or more"):
        model(torch.rand(2, 1, 64, 63))


def test_stages_are_the_five_layers() -> None:
    model = timm.create_model("cnn7", in_chans=1, num_classes=0, base_channels=2)
    for coarse in (True, False):
        groups = group_parameters(model, model.group_matcher(coarse=coarse))
        layers = [{name.split(".")[0] for name in groups[k]} for k in sorted(groups)]
        assert layers == [{"layer1"}, {"layer2"}, {"layer3"}, {"layer4"}, {"layer5"}]


def test_classifier_follows_timms_conventions() -> None:
    model = timm.create_model("cnn7", in_chans=1, num_classes=3, base_channels=2).eval()
    x = torch.rand(2, 1, 64, 64)
    features = model.forward_head(model.forward_features(x), pre_logits=True)
    torch.testing.assert_close(model(x), model.get_classifier()(features))
    model.reset_classifier(0)
    torch.testing.assert_close(model(x), features)
    with pytest.raises(ConfigError, match="global_pool 'max'"):
        model.reset_classifier(0, "max")


def test_features_are_no_log_probabilities() -> None:
    features = timm.create_model("cnn7", in_chans=1, num_classes=0, base_channels=2)(
        torch.rand(2, 1, 64, 64)
    )
    assert (features >= 0).all()  # the last layer is a ReLU; log_softmax would be negative
