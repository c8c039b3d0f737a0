"""Maps of the heads: what stands at a place is what the head says there."""

import numpy as np
import pytest
import torch
from torch import nn

from dbtssl.errors import ConfigError
from dbtssl.nn.backbones import create_encoder
from dbtssl.nn.classifier import PatchClassifier


class Pooled(nn.Module):
    """Places are means over 4 x 4 pixels; features are their mean."""

    num_features = 1

    def forward_features(self, x):
        return nn.functional.avg_pool2d(x, 4)

    def forward_head(self, x, pre_logits=False):
        return x.mean((2, 3))

    def forward(self, x):
        return self.forward_head(self.forward_features(x))


class Highest(Pooled):
    def forward_head(self, x, pre_logits=False):
        return x.amax((2, 3))


def classifier(encoder, weight=2.0, bias=0.5):
    model = PatchClassifier(encoder).eval()
    nn.init.constant_(model.head.weight, weight)
    nn.init.constant_(model.head.bias, bias)
    return model


@pytest.mark.parametrize("kind", ["cam", "windows", "places"])
@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_a_map_of_a_slope_is_the_slope_itself(maps, monkeypatch, kind, scale):
    """The mean of a linear function over any window is its value in the middle."""
    monkeypatch.setattr(maps, "STEP", 3.0)
    y, x = np.mgrid[:50, :41]
    image = (0.01 * y + 0.003 * x).astype(np.float32)
    mask = np.ones(image.shape, bool)
    make = getattr(maps, kind)
    model = classifier(Pooled())
    beside = {"place": model.head} if kind == "places" else {}
    found = make(image, mask, 1.0, model=model, size=8, scale=scale, **beside)
    inner = (slice(10, -10), slice(10, -10))
    assert found.shape == image.shape
    assert found[inner] == pytest.approx((2 * image + 0.5)[inner], abs=1e-5)


def test_a_window_is_the_patch_round_its_place(maps):
    torch.manual_seed(0)
    model = classifier(create_encoder("cnn7", base_channels=1))
    image = torch.rand(1, 1, 100, 90)
    mask = np.zeros((100, 90), bool)
    mask[40:60, 40:60] = True
    with torch.inference_mode():
        values, first, step = maps.windows_grid(model, image, mask, 64, 10)
        assert (first, step, values.shape) == (-0.5, 10, (10, 9))
        for i, j in ((4, 4), (5, 5), (6, 4)):
            y, x = 10 * i, 10 * j  # a window of 64 has its middle between the pixels
            padded = torch.from_numpy(
                np.pad(image.numpy(), ((0, 0), (0, 0), (32, 32), (32, 32)), "symmetric")
            )
            patch = padded[:, :, y : y + 64, x : x + 64]
            assert values[i, j] == pytest.approx(model(patch).item(), abs=1e-5)
    assert values[0, 0] == values[1, 1]  # far from the mask: the nearest place that was asked


def test_the_feature_map_of_cnn7_has_a_pitch_of_16_pixels(maps):
    model = classifier(create_encoder("cnn7", base_channels=1))
    image = torch.rand(1, 1, 96, 64)
    with torch.inference_mode():
        values, _, step = maps.cam_grid(model, image, 64, 5)
    assert step == 4
    # (size + 16 * ceil(n / 16) - 64) / 16 + 1 places, four shifts each
    assert values.shape == (4 * 7, 4 * 5)


def test_a_head_on_maxima_has_no_value_at_a_place(maps):
    with pytest.raises(ConfigError, match="not the mean"), torch.inference_mode():
        maps.cam_grid(classifier(Highest()), torch.rand(1, 1, 40, 40), 8, 4)


def test_a_head_of_places_has_one_whatever_the_encoder_ends_in(maps):
    image = torch.rand(1, 1, 40, 40)
    with torch.inference_mode():
        values, first, step = maps.place_grid(Highest(), nn.Identity(), image, 8, 4)
    assert step == 4
    at = [int(first + step * k + 0.5) for k in range(2, 8)]  # a place is the mean of 4 x 4 pixels
    means = nn.functional.avg_pool2d(image, 4, 1)[0, 0]
    expected = means[[a - 2 for a in at]][:, [a - 2 for a in at]]
    assert values[2:8, 2:8] == pytest.approx(expected.numpy(), abs=1e-6)


def test_the_maps_of_a_row_are_those_of_the_heads_that_it_left(maps):
    model = classifier(Pooled())

    def names(place, kind="auto"):
        return list(maps.head_maps(model, place, 8, kind, [1.0, 1.5]))

    assert names(None) == ["cam x 1", "cam x 1.5", "windows x 1", "windows x 1.5"]
    assert names(nn.Identity()) == ["places x 1", "places x 1.5", "windows x 1", "windows x 1.5"]
    for kind in ("places", "cam", "windows"):
        assert names(nn.Identity(), kind) == [f"{kind} x 1", f"{kind} x 1.5"]
    with pytest.raises(ConfigError, match="left no head of places"):
        names(None, "places")
