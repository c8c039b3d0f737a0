from __future__ import annotations

import pytest
from torch import nn

from dbtssl.errors import PluginError
from dbtssl.nn.backbones import create_encoder
from dbtssl.nn.classifier import PatchClassifier
from dbtssl.nn.stages import discriminative_groups, stages

# SIFT-DBT's released code, base rate 0.08 and factor 2.8: rate of all parameters whose names begin so
TABLE = (0.08, 0.02857, 0.01020, 0.003644, 0.001302, 0.000465)
RESNET50 = (
    ("head.",),
    ("encoder.layer4.",),
    ("encoder.layer3.",),
    ("encoder.layer2.",),
    ("encoder.layer1.",),
    ("encoder.conv1.", "encoder.bn1."),  # the released code gives bn1 the rate of layer1
)
CNN7 = (
    ("head.",),
    ("encoder.layer5.",),
    ("encoder.layer4.",),
    ("encoder.layer3.",),
    ("encoder.layer2.",),
    ("encoder.layer1.",),
)


def rates(model, **kwargs):
    names = {id(p): name for name, p in model.named_parameters()}
    groups = discriminative_groups(model, **kwargs)
    return {names[id(p)]: group["lr"] for group in groups for p in group["params"]}


@pytest.mark.parametrize(("backbone", "groups"), [("resnet50", RESNET50), ("cnn7", CNN7)])
def test_learning_rates_of_every_parameter_are_the_published_ones(backbone, groups):
    model = PatchClassifier(create_encoder(backbone))
    found = rates(model, lr=0.08, factor=2.8, weight_decay=1e-4)
    published = {
        prefix: rate for prefixes, rate in zip(groups, TABLE, strict=True) for prefix in prefixes
    }
    assert found.keys() == dict(model.named_parameters()).keys()
    for name, rate in found.items():
        (prefix,) = (prefix for prefix in published if name.startswith(prefix))
        assert rate == pytest.approx(published[prefix], rel=5e-4), (
            name
        )  # as many digits as the table has
    exact = [0.08 / 2.8**k for k in range(6)]
    assert sorted(set(found.values()), reverse=True) == pytest.approx(exact, rel=1e-12)


def test_batch_norm_of_the_stem_goes_with_its_convolution():
    found = rates(PatchClassifier(create_encoder("resnet50")), lr=0.08, factor=2.8, weight_decay=0)
    assert found["encoder.bn1.weight"] == found["encoder.conv1.weight"]


@pytest.mark.parametrize("backbone", ["resnet50", "cnn7", "resnet18", "vit_tiny_patch16_224"])
def test_each_parameter_is_in_exactly_one_group(backbone):
    model = PatchClassifier(create_encoder(backbone))
    groups = discriminative_groups(model, 0.1, 2.8, 1e-4)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())
    assert {group["weight_decay"] for group in groups} == {1e-4}


def test_stages_run_from_the_input_to_the_head():
    first, *middle = stages(create_encoder("resnet50"))
    assert first == ["conv1.weight", "bn1.weight", "bn1.bias"]
    assert [{name.split(".")[0] for name in names} for names in middle] == [
        {"layer1"},
        {"layer2"},
        {"layer3"},
        {"layer4"},
    ]


@pytest.mark.parametrize(
    ("depth", "blocks"),
    [
        (12, [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]),
        (6, [[0], [1, 2], [3], [4, 5]]),
        (4, [[0], [1], [2], [3]]),
        (2, [[0], [1]]),
    ],
)
def test_blocks_of_a_transformer_are_four_stages(depth, blocks):
    """So that the patch embedding keeps a rate: 0.08 / 2.8^5, as the stem of a ResNet, not 0.08 / 2.8^13."""
    args = {"depth": depth, "embed_dim": 12, "num_heads": 2}
    encoder = create_encoder("vit_tiny_patch16_224", **args)
    stem, *rest = stages(encoder)
    assert {name.split(".")[0] for name in stem} == {"cls_token", "pos_embed", "patch_embed"}
    found = [
        sorted({int(n.split(".")[1]) for n in names if n.startswith("blocks")}) for names in rest
    ]
    assert found == blocks
    assert rest[-1][-2:] == ["norm.weight", "norm.bias"]
    if depth >= 4:
        rate = rates(PatchClassifier(encoder), lr=0.08, factor=2.8, weight_decay=0)
        assert rate["encoder.patch_embed.proj.weight"] == pytest.approx(0.000465, rel=1e-3)


def test_an_encoder_without_stages_is_refused():
    with pytest.raises(PluginError, match="group_matcher") as caught:
        stages(nn.Linear(3, 3))
    assert "full or linear" in caught.value.hint
