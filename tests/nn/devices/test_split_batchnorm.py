import pytest
import timm
import torch
from torch import nn

from dbtssl.errors import ConfigError
from dbtssl.nn.devices.split_batchnorm import SplitBatchNorm2d, split_batchnorm


def trained_norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2.0)
        norm.bias.uniform_(-1.0, 1.0)
    return norm


@pytest.mark.parametrize("splits", [1, 2, 4])
def test_equals_batch_normalisation_of_each_part(splits: int) -> None:
    torch.manual_seed(0)
    norm = trained_norm(3)
    parts = [trained_norm(3) for _ in range(splits)]
    for part in parts:
        part.load_state_dict(norm.state_dict())
    split = split_batchnorm(nn.Sequential(norm), splits)[0]
    x = torch.randn(8, 3, 5, 5)
    out = split(x)
    for s, part in enumerate(parts):
        torch.testing.assert_close(out[s::splits], part(x[s::splits]))
    for name in ("running_mean", "running_var"):
        mean = torch.stack([getattr(part, name) for part in parts]).mean(0)
        torch.testing.assert_close(getattr(split, name), mean)
    assert int(split.num_batches_tracked) == 1


def test_cumulative_average_counts_batches() -> None:
    split = SplitBatchNorm2d(2, 2, momentum=None)
    batches = torch.randn(3, 4, 2, 6, 6)
    for x in batches:
        split(x)
    torch.testing.assert_close(split.running_mean, batches.mean(dim=(0, 1, 3, 4)))


def test_evaluation_and_state_are_those_of_batch_normalisation() -> None:
    norm = trained_norm(3)
    norm(torch.randn(8, 3, 4, 4))
    plain = nn.BatchNorm2d(3).eval()
    plain.load_state_dict(norm.state_dict())
    split = split_batchnorm(nn.Sequential(norm), 4).eval()[0]
    x = torch.randn(5, 3, 4, 4)
    torch.testing.assert_close(split(x), plain(x))
    assert split.state_dict().keys() == plain.state_dict().keys()


def test_a_network_keeps_its_state_and_becomes_whole_again() -> None:
    torch.manual_seed(0)
    network = timm.create_model("resnet10t", in_chans=1, num_classes=0)
    other = timm.create_model("resnet10t", in_chans=1, num_classes=0)
    other.load_state_dict(network.state_dict())
    x = torch.rand(4, 1, 32, 32)
    split = split_batchnorm(network, 2)
    assert split.state_dict().keys() == other.state_dict().keys()
    assert not torch.allclose(split(x), other(x), atol=1e-3)
    split.load_state_dict(other.state_dict())
    torch.testing.assert_close(split_batchnorm(split, 1)(x), other(x))


def test_timms_normalisation_keeps_its_activation() -> None:
    network = nn.Sequential(timm.layers.BatchNormAct2d(3))
    x = torch.randn(4, 3, 5, 5)
    expected = network(x)
    split = split_batchnorm(network, 2)
    assert isinstance(split[0], SplitBatchNorm2d)
    assert (split(x) >= 0).all()
    torch.testing.assert_close(split_batchnorm(split, 1)(x), expected)


@pytest.mark.parametrize("images", [6, 4])  # 4 would leave one image in each part
def test_a_batch_that_cannot_be_cut_is_refused(images: int) -> None:
    split = SplitBatchNorm2d(3, 4)
    with pytest.raises(ConfigError, match=f"{images} images on this device cannot be cut into 4"):
        split(torch.rand(images, 3, 2, 2))
