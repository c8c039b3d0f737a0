from __future__ import annotations

import torch

from dbtssl.nn.backbones import create_encoder
from dbtssl.nn.classifier import HEAD_STD, PatchClassifier


def test_one_logit_a_patch():
    model = PatchClassifier(create_encoder("cnn7", base_channels=4)).eval()
    patches = torch.rand(3, 1, 64, 64)
    with torch.no_grad():
        logits = model(patches)
        expected = model.encoder(patches) @ model.head.weight[0] + model.head.bias
    assert logits.shape == (3,)
    torch.testing.assert_close(logits, expected)


def test_the_head_is_decided_by_its_seed_and_leaves_the_global_random_state_alone():
    encoder = create_encoder("resnet50")
    before = torch.random.get_rng_state()
    first, same, other = (PatchClassifier(encoder, seed=s).head for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.weight, same.weight)
    assert not torch.equal(first.weight, other.weight)
    assert first.weight.shape == (1, 2048)
    assert 0.9 * HEAD_STD < first.weight.std().item() < 1.1 * HEAD_STD
    assert first.bias.item() == 0


def test_binary_cross_entropy_on_the_logit_is_the_two_class_cross_entropy():
    two = torch.randn(16, 2, dtype=torch.float64)
    target = torch.arange(16) % 2
    one = torch.nn.functional.binary_cross_entropy_with_logits(
        two[:, 1] - two[:, 0], target.double()
    )
    torch.testing.assert_close(one, torch.nn.functional.cross_entropy(two, target))


def test_a_head_like_pytorchs_is_the_difference_of_two_of_its_outputs():
    """Uniform rows between -b and b, b = 1 / sqrt(features): their difference has the variance 2 b^2 / 3."""
    encoder = create_encoder("resnet50")
    head = PatchClassifier(encoder, seed=3, init="torch").head
    bound = 2048**-0.5
    new = torch.nn.Linear(2048, 64)
    assert new.weight.abs().max().item() <= bound
    expected = (new.weight[:32] - new.weight[32:]).std().item()
    assert abs(head.weight.std().item() / expected - 1) < 0.05
    assert bound < head.weight.abs().max().item() <= 2 * bound
    assert 0 < abs(head.bias.item()) <= 2 * bound
    same = PatchClassifier(encoder, seed=3, init="torch").head
    assert torch.equal(head.weight, same.weight)
