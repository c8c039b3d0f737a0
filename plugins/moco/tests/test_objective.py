"""The step of MoCo v2: queue, momentum, shuffled statistics and state."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from dbtssl_moco.sampler import SameSlice
from torch.nn import functional as F

from dbtssl.api import info_nce, own_keys
from dbtssl.nn.devices.split_batchnorm import SplitBatchNorm2d
from dbtssl.testing.resume import check_resume

from .conftest import Encoder, batch, build


def test_the_step_is_the_loss_against_the_queue_as_it_was():
    """Logits first, then the keys go in; with one split shuffling changes nothing."""
    objective = build(splits=1)
    other, data = copy.deepcopy(objective), batch()
    q = F.normalize(other.query(data.views[0]), dim=1)
    k = F.normalize(other.key(data.views[1]), dim=1)
    expected = info_nce(q, k, other.queue.keys, 0.2)
    step = objective(data)
    torch.testing.assert_close(step.loss, expected)
    torch.testing.assert_close(objective.queue.keys[:8], k, atol=1e-6, rtol=1e-5)
    assert torch.equal(objective.queue.keys[8:], other.queue.keys[8:])
    assert objective.queue.volume[:8].tolist() == list(range(8))
    assert objective.queue.breast[:8].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert objective.queue.patient[:8].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert int(objective.queue.pointer) == 8
    assert 0 < float(step.logs["feature_std"]) < 1


@pytest.mark.parametrize("who", ["none", "patient"])
def test_five_steps_by_hand(who):
    """Equation 1 with the queue as a list: oldest first, keys of a batch in its order, momentum after each step.

    The queue of 20 wraps in the third step of 8.
    """
    objective = build(splits=1, momentum=0.9, exclude_negatives=who)
    hand = copy.deepcopy(objective)
    query, key = hand.query, hand.key.module
    queue = [(k.clone(), -1) for k in hand.queue.keys]
    optimizers = [
        torch.optim.SGD(x.query.parameters(), lr=0.3, momentum=0.9) for x in (objective, hand)
    ]
    for step in range(5):
        data = batch(seed=step, first=8 * (step % 2))
        patients = data.patient[1].tolist()
        q = query(data.views[0])
        q = q / q.norm(dim=1, keepdim=True)
        with torch.no_grad():
            k = key(data.views[1])
            k = k / k.norm(dim=1, keepdim=True)
        terms = []
        for i in range(8):
            rivals = [old for old, patient in queue if who == "none" or patient != patients[i]]
            scores = torch.stack([q[i] @ k[i], *(q[i] @ old for old in rivals)]) / 0.2
            terms.append(-(scores[0] - torch.log(torch.exp(scores).sum())))
        expected = torch.stack(terms).mean()
        loss = objective(data).loss
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
        queue = [*queue, *zip(k, patients, strict=True)][-20:]
        for optimizer, value in zip(optimizers, (loss, expected), strict=True):
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        objective.after_step(step / 4)
        with torch.no_grad():
            for mine, theirs in zip(key.parameters(), query.parameters(), strict=True):
                mine.copy_(0.9 * mine + 0.1 * theirs)
    assert int(objective.queue.pointer) == 40 % 20
    keys = torch.stack([old for old, _ in queue])
    torch.testing.assert_close(objective.queue.keys, keys, rtol=1e-5, atol=1e-6)
    assert objective.queue.patient.tolist() == [patient for _, patient in queue]


def test_only_the_anchor_is_a_query_and_only_the_positive_a_key():
    """Asymmetric: one query and one key a pair, as in the reference, not both ways."""
    objective = build(splits=1)
    seen = {"query": [], "key": []}
    objective.query.register_forward_pre_hook(lambda _, x: seen["query"].append(x[0]))
    objective.key.module.register_forward_pre_hook(lambda _, x: seen["key"].append(x[0]))
    data = batch()
    objective(data)
    (query,), (key,) = seen["query"], seen["key"]
    assert torch.equal(query, data.views[0])
    order = [int((key == row).flatten(1).all(dim=1).nonzero()) for row in data.views[1]]
    assert sorted(order) == list(range(8))
    assert order != list(range(8))  # shuffled


def test_shuffling_changes_no_loss_when_batch_norm_is_frozen():
    """It changes whose statistics a key gets, and nothing else."""
    data, losses = batch(16), []
    for seed in range(3):
        objective = build(splits=4).eval()
        torch.manual_seed(seed)
        losses.append(objective(data).loss)
        k = F.normalize(objective.key(data.views[1]), dim=1)
        torch.testing.assert_close(objective.queue.keys[:16], k, rtol=1e-5, atol=1e-6)
    q = F.normalize(objective.query(data.views[0]), dim=1)
    expected = info_nce(q, k, build().queue.keys, 0.2)
    for loss in losses:
        torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    thawed = []
    for seed in range(2):
        objective = build(splits=4)
        torch.manual_seed(seed)
        thawed.append(objective(data).loss)
    assert abs(thawed[0] - thawed[1]) > 5e-5


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_key_encoder_keeps_the_product_of_the_momenta(schedule):
    """A distance of 1 to a query encoder at rest becomes the product of m(t), in closed form for each schedule."""
    objective = build(momentum=0.9, momentum_schedule=schedule)
    start = objective.key.module[0].conv.weight.clone()
    with torch.no_grad():
        objective.query[0].conv.weight.add_(1.0)
    steps = 7
    for step in range(steps):
        objective.after_step(step / (steps - 1))
    if schedule == "constant":
        left = 0.9**steps
    else:
        left = math.prod(
            1 - 0.1 * (1 + math.cos(math.pi * t / (steps - 1))) / 2 for t in range(steps)
        )
    moved = objective.key.module[0].conv.weight - start
    torch.testing.assert_close(moved, torch.full_like(moved, 1 - left))


def test_queries_and_keys_have_statistics_of_different_images():
    """A key is normalised with a random part of the batch, its query with a fixed one."""
    objective = build(splits=4)
    data = batch(16)
    torch.manual_seed(1)
    one = objective._keys(data.views[1])
    torch.manual_seed(2)
    two = objective._keys(data.views[1])
    assert not torch.allclose(one, two, atol=1e-3)
    whole = build(splits=1)
    torch.manual_seed(1)
    one = whole._keys(data.views[1])
    torch.manual_seed(2)
    torch.testing.assert_close(one, whole._keys(data.views[1]), atol=1e-5, rtol=1e-4)


def test_gradients_reach_the_query_and_nothing_else():
    objective = build()
    objective(batch()).loss.backward()
    for name, parameter in objective.named_parameters():
        if name.startswith("query"):
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0 or name.endswith("bias"), name
        else:
            assert parameter.grad is None, name
            assert not parameter.requires_grad, name


def test_key_encoder_starts_equal_and_follows():
    objective = build(momentum=0.9)
    start = objective.query[0].conv.weight.detach().clone()
    assert torch.equal(objective.key.module[0].conv.weight, start)
    with torch.no_grad():
        objective.query[0].conv.weight.add_(1.0)
    objective.after_step(0.0)
    torch.testing.assert_close(objective.key.module[0].conv.weight, start + 0.1)


@pytest.mark.parametrize(
    ("schedule", "expected"), [("constant", (0.996, 0.996, 0.996)), ("cosine", (0.996, 0.998, 1.0))]
)
def test_momentum_schedule(schedule, expected):
    objective = build(momentum=0.996, momentum_schedule=schedule)
    assert [objective.momentum_at(p) for p in (0.0, 0.5, 1.0)] == pytest.approx(expected)


@pytest.mark.parametrize("who", ["volume", "breast", "patient"])
def test_own_keys_can_be_left_out(who):
    plain, careful = build(splits=1), build(splits=1, exclude_negatives=who)
    torch.testing.assert_close(plain(batch()).loss, careful(batch()).loss)  # the queue is nobody's
    assert careful(batch()).loss < plain(batch()).loss
    own = own_keys(careful.queue, batch(), 0, who)
    assert own.sum(dim=1).tolist() == [{"volume": 2, "breast": 4, "patient": 8}[who]] * 8
    strangers = batch(first=100)
    assert not own_keys(careful.queue, strangers, 0, who).any()


def test_state_dict_makes_the_next_losses_equal():
    objective = build()
    objective(batch())
    objective.after_step(0.5)
    other = build(seed=1)
    other.load_state_dict(objective.state_dict())
    torch.manual_seed(3)
    expected = objective(batch(seed=4)).loss
    torch.manual_seed(3)
    assert torch.equal(other(batch(seed=4)).loss, expected)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_20_steps_equal_7_and_a_kill_and_13(schedule, tmp_path):
    """Queue and pointer included: the queue of 20 wraps in the third of the batches of 8."""
    check_resume(lambda seed: build(seed, momentum_schedule=schedule), tmp_path, optimizer="sgd")


def test_the_kept_encoder_is_whole_and_a_copy():
    objective = build(splits=4)
    objective(batch())
    encoder = objective.encoder()
    assert encoder.state_dict().keys() == Encoder().state_dict().keys()
    assert encoder is not objective.query[0]
    assert encoder(torch.rand(5, 1, 16, 16)).shape == (5, 6)  # 5 cannot be cut into 4
    assert isinstance(objective.query[0].norm, SplitBatchNorm2d)
    assert objective.query[0].norm.splits == 4


def test_same_slice_is_the_anchor():
    anchor = object()
    assert SameSlice().positive(anchor, None, None) is anchor
