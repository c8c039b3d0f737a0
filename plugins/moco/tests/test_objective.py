from __future__ import annotations

import copy
import math

import pytest
import torch
from dbtssl_moco.objective import MoCoV2, info_nce
from dbtssl_moco.sampler import SameSlice
from lightly.loss import NTXentLoss
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from dbtssl.api import Batch, ConfigError
from dbtssl.nn.split_batchnorm import SplitBatchNorm2d
from dbtssl.testing.resume import check_resume


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.num_features = 6
        self.conv = nn.Conv2d(1, 6, 3, stride=2)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, x):
        return F.relu(self.norm(self.conv(x))).mean(dim=(2, 3))


def build(seed=0, **changes):
    torch.manual_seed(seed)
    config = MoCoV2.Config(**({"dim": 5, "queue_size": 20, "crop_size": 16} | changes))
    return MoCoV2(Encoder(), **{k: getattr(config, k) for k in type(config).model_fields})


def batch(n=8, seed=0, first=0):
    g = torch.Generator().manual_seed(seed)
    views = tuple(torch.rand(n, 1, 16, 16, generator=g) for _ in range(2))
    ids = torch.arange(first, first + n)
    twice = ((ids, ids), (ids // 2, ids // 2), (ids // 4, ids // 4))
    return Batch(views, tuple(torch.ones_like(v, dtype=torch.bool) for v in views), *twice)


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_info_nce_on_worked_numbers():
    q = k = torch.tensor([[1.0, 0.0]])
    queue = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    expected = -math.log(math.exp(2) / (math.exp(2) + 1 + math.exp(-2)))
    assert info_nce(q, k, queue, 0.5).item() == pytest.approx(expected)


def test_info_nce_equals_lightlys_with_a_memory_bank():
    q, k, bank = unit(8, 5, seed=1), unit(8, 5, seed=2), unit(20, 5, seed=3)
    theirs = NTXentLoss(temperature=0.2, memory_bank_size=(20, 5))
    theirs.memory_bank.bank = bank
    torch.testing.assert_close(info_nce(q, k, bank, 0.2), theirs(q, k))


def test_an_excluded_key_is_as_if_it_were_not_there():
    q, k, bank = unit(3, 5, seed=1), unit(3, 5, seed=2), unit(6, 5, seed=3)
    stale = torch.zeros(3, 6, dtype=torch.bool)
    stale[:, 2] = stale[:, 5] = True
    fewer = info_nce(q, k, bank[[0, 1, 3, 4]], 0.2)
    torch.testing.assert_close(info_nce(q, k, bank, 0.2, stale), fewer)


def test_mixed_precision_does_not_round_the_cosines():
    q, k, bank = unit(8, 5, seed=1), unit(8, 5, seed=2), unit(20, 5, seed=3)
    expected = info_nce(q, k, bank, 0.2)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(info_nce(q, k, bank, 0.2), expected)


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
    own = careful._own(batch())
    assert own.sum(dim=1).tolist() == [{"volume": 2, "breast": 4, "patient": 8}[who]] * 8
    strangers = batch(first=100)
    assert not careful._own(strangers).any()


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


def test_every_setting_reaches_its_place():
    objective = build(
        hidden=7,
        temperature=0.3,
        splits=2,
        crop_size=18,
        crop_scale=(0.3, 0.9),
        flip=0.4,
        rotation=11.0,
        p_rotation=0.6,
        min_tissue=0.2,
        brightness=0.1,
        contrast=0.15,
        p_jitter=0.7,
        blur=(0.2, 1.5),
        p_blur=0.35,
    )
    anchor, positive = objective.views
    assert (anchor.of, positive.of) == ("anchor", "positive")
    assert anchor.crop == positive.crop
    crop, light = anchor.crop, anchor.photometry
    assert (crop.size, crop.scale, crop.flip) == (18, (0.3, 0.9), 0.4)
    assert (crop.rotation, crop.p_rotation, crop.min_tissue) == (11.0, 0.6, 0.2)
    assert (light.brightness, light.contrast, light.p_jitter) == (0.1, 0.15, 0.7)
    assert (light.blur, light.p_blur) == ((0.2, 1.5), 0.35)
    assert objective.query[0].norm.splits == 2
    assert objective.query[1].layers[0].weight.shape == (7, 6)
    assert objective.temperature == 0.3


def test_defaults_are_the_references():
    config = MoCoV2.Config()
    assert (config.dim, config.queue_size, config.temperature) == (128, 65536, 0.2)
    assert (config.momentum, config.momentum_schedule) == (0.999, "constant")
    assert (config.crop_size, config.crop_scale) == (224, (0.2, 1.0))
    assert build(hidden=None).query[1].layers[0].weight.shape == (6, 6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"queue_size": 0},
        {"momentum": 1.1},
        {"splits": 0},
        {"crop_size": 4},
        {"crop_scale": (0.5, 0.2)},
        {"crop_scale": (0.0, 1.0)},
        {"crop_scale": (0.5, 1.5)},
        {"blur": (2.0, 0.1)},
        {"exclude_negatives": "slice"},
        {"queue": 3},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        MoCoV2.Config(**wrong)


def test_a_batch_that_the_splits_do_not_divide_is_refused():
    with pytest.raises(ConfigError, match="6 images on this device cannot be cut into 4"):
        build(splits=4)(batch(6))


def test_same_slice_is_the_anchor():
    anchor = object()
    assert SameSlice().positive(anchor, None, None) is anchor
