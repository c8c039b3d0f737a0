"""InfoNCE against worked numbers and lightly; a queue's own keys, and keys with their ids."""

from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import NTXentLoss
from torch.nn import functional as F

from dbtssl.api import Batch, Queue
from dbtssl.nn.contrast import add_keys, info_nce, own_keys


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


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


def test_an_excluded_key_of_an_image_is_as_if_it_were_not_there():
    q, k, bank = unit(3, 5, seed=1), unit(3, 5, seed=2), unit(6, 5, seed=3)
    own = torch.zeros(3, 6, dtype=torch.bool)
    own[:, 2] = own[:, 5] = True
    fewer = info_nce(q, k, bank[[0, 1, 3, 4]], 0.2)
    torch.testing.assert_close(info_nce(q, k, bank, 0.2, own), fewer)


def test_mixed_precision_does_not_round_the_cosines():
    q, k, bank = unit(8, 5, seed=1), unit(8, 5, seed=2), unit(20, 5, seed=3)
    expected = info_nce(q, k, bank, 0.2)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(info_nce(q, k, bank, 0.2), expected)


def test_places_are_lightlys_info_nce_over_all_of_them():
    q, k, bank = unit(4, 3, 5, seed=1), unit(4, 3, 5, seed=2), unit(20, 5, seed=3)
    theirs = NTXentLoss(0.2, memory_bank_size=(20, 5))
    theirs.memory_bank.bank = bank
    expected = theirs(q.flatten(0, 1), k.flatten(0, 1))
    torch.testing.assert_close(info_nce(q, k, bank, 0.2), expected)


def test_an_excluded_key_of_places_is_as_if_it_were_not_there():
    q, k, bank = unit(4, 3, 5, seed=1), unit(4, 3, 5, seed=2), unit(6, 5, seed=3)
    own = torch.zeros(4, 6, dtype=torch.bool)
    own[:, 1] = own[:, 4] = True
    fewer = info_nce(q, k, bank[[0, 2, 3, 5]], 0.2)
    torch.testing.assert_close(info_nce(q, k, bank, 0.2, own), fewer)


def test_the_queue_may_change_before_the_backward_pass():
    queue = Queue(4, 3)
    q = unit(2, 3, seed=1).requires_grad_()
    loss = info_nce(q, unit(2, 3, seed=2), queue.keys, 0.2)
    (expected,) = torch.autograd.grad(loss, q, retain_graph=True)
    queue.enqueue(unit(2, 3, seed=3), *(torch.arange(2) for _ in range(3)))
    (found,) = torch.autograd.grad(loss, q)
    assert torch.equal(found, expected)


@pytest.fixture
def batch():
    """Two views of four images; of each view other volumes, breasts and patients."""
    views = tuple(torch.zeros(4, 1, 2, 2) for _ in range(2))
    anchor = (torch.tensor([0, 1, 2, 3]), torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 7]))
    positive = tuple(ids + 10 for ids in anchor)
    tissue = tuple(torch.ones_like(view, dtype=torch.bool) for view in views)
    return Batch(views, tissue, *zip(anchor, positive, strict=True))


def test_keys_enter_with_the_ids_of_the_view_that_they_are_made_of(batch):
    queue, keys = Queue(6, 3), unit(4, 3)
    add_keys(queue, keys, batch, 1)
    assert torch.equal(queue.keys[:4], keys)
    assert queue.volume.tolist() == [10, 11, 12, 13, -1, -1]
    assert queue.breast.tolist() == [10, 10, 11, 11, -1, -1]
    assert queue.patient.tolist() == [10, 10, 10, 17, -1, -1]


def test_own_keys_are_those_of_the_same_volume_breast_or_patient(batch):
    queue = Queue(6, 3)
    add_keys(queue, unit(4, 3), batch, 0)
    own = {of: own_keys(queue, batch, 0, of) for of in ("volume", "breast", "patient")}
    assert [of.sum().item() for of in own.values()] == [4, 8, 10]
    assert own["breast"][0].tolist() == [True, True, False, False, False, False]
    assert not own_keys(queue, batch, 1, "volume").any()
    assert own_keys(queue, batch, 0, "none") is None
